"""How many cores this process may use, and does."""

from __future__ import annotations

import os
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
