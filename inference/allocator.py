"""Memory that a network frees is kept for the next layer instead of being given back to the system."""

from __future__ import annotations

import ctypes

# mallopt(3) of the GNU C library, malloc.h
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
_LARGEST = 2**31 - 1


def keep_freed_memory() -> bool:
    """Tell the C library's allocator so, for this process; whether it listens.

    A layer's output of some hundred megabytes is otherwise mapped anew each time, and the kernel clears every
    page of it: the slice classifier takes twice as long then. One arena, since the networks run in any thread
    and only the main arena grows beyond 64 MB. Other C libraries are left as they are.
    """
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):
        return False
    settings = ((_ARENA_MAX, 1), (_MMAP_THRESHOLD, _LARGEST // 2), (_TRIM_THRESHOLD, _LARGEST))
    accepted = [library.mallopt(name, value) == 1 for name, value in settings]
    return all(accepted)
