"""How many cores this process may use, and does; what it keeps of its memory."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


def usable_cores() -> int:
    """Return the cores the process may run on: those it is bound to where the system tells, else all."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def library_threads(num_threads: int) -> Iterator[None]:
    """Let OpenCV use ``num_threads`` in the block; its default is all cores, in each process of a batch."""
    import cv2

    before = cv2.getNumThreads()
    cv2.setNumThreads(max(1, num_threads))
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def use_numba_threads(num_threads: int) -> int:
    """Let compiled loops use ``num_threads`` (0: all); return how many they do use."""
    import numba

    limit = numba.config.NUMBA_NUM_THREADS
    threads = max(1, min(num_threads or limit, limit))
    numba.set_num_threads(threads)
    return int(threads)


def keep_freed_memory(at_most_bytes: int = 1 << 30) -> bool:
    """Keep large blocks that are freed for the next ones, in this process from now on; for commands.

    By default, glibc takes blocks over 128 kB (to 32 MB) from the system and gives them back at once. A
    network on a CPU frees dozens of them a step and finds each new one cleared page by page: over half of
    its time (docs/render.md). Returns whether it took effect: on other systems it does nothing.
    """
    if not sys.platform.startswith("linux"):
        return False
    trim_threshold, mmap_threshold = -1, -3  # of malloc.h
    try:
        adjust = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # musl has none
        return False
    return bool(adjust(mmap_threshold, at_most_bytes)) and bool(adjust(trim_threshold, at_most_bytes))
