"""Memory that a process frees, and when it goes back to the system."""

import ctypes

M_MMAP_THRESHOLD = -3  # a parameter of mallopt(3), from glibc's malloc.h
LARGE_BYTES = 4 << 20


def return_large_arrays() -> None:
    """Make the process return the memory of each large array when the array is freed.

    By default glibc does so for an array only until one of its size has been freed once. Later
    arrays of that size leave gaps in the heap. With another C library the function has no effect.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)
