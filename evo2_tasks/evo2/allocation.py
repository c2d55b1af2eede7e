"""Memory of a process that runs the model on a CPU."""

import ctypes

# Parameters of mallopt(3), from glibc's malloc.h.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4


def keep_freed_memory() -> None:
    """Make the process keep freed memory and use it again for later tensors.

    By default glibc requests each large block from the kernel and returns it when it is freed, and
    the kernel fills every page of a new block with zeros. This takes a third of the time of a
    training step, and of a forward pass over 8,192 tokens. With another C library the function has
    no effect.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(M_TOP_PAD, 2**26)
