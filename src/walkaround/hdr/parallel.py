"""The same step for several frames at once: OpenCV and NumPy let other threads run meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import cv2

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def for_each(function: Callable[[_Item], _Result], items: Iterable[_Item]) -> list[_Result]:
    """Return ``function`` of each item in order, on as many threads as OpenCV may use.

    The results do not depend on their number.
    """
    threads = max(1, cv2.getNumThreads())
    if threads == 1:
        return [function(item) for item in items]
    with ThreadPoolExecutor(threads, "hdr") as pool:
        return list(pool.map(function, items))
