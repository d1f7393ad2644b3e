"""The C library's heap: what is kept of it for the next step, and what goes back to the system.

Without glibc nothing happens. Imports no tensor library.
"""

from __future__ import annotations

import contextlib
import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # mallopt's names for them
_KEPT_BYTES = 32 * 2**20
_LARGE_BYTES = 16 * 2**20


def keep_freed_memory() -> None:
    """Have what is freed kept for the next step instead of given back at once.

    Every step needs the same few buffers again; fetching them page by page takes longer than filling them.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)


def give_back_freed_memory() -> None:
    """Return to the system what lies unused between what is in use."""
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
