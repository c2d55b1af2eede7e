"""Memory of a process that runs the model on a CPU."""

import ctypes

# Parameters of mallopt(3), from glibc's malloc.h.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4


def keep_freed_memory() -> None:
    """Let the process keep what its tensors free, for the tensors to come.

    By default glibc maps each large block anew and gives it back, and the kernel fills every page
    of it with zeros: a third of the time of a training step, and of a forward pass over 8,192
    tokens. Where the C library is another one, nothing is done.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(M_TOP_PAD, 2**26)
