"""Arrays of all views in bounded memory: the least recently used ones wait in a scratch folder.

Depth keeps images, planes and maps of every view from one step to the next, about 50 bytes a pixel. Up to
a budget they stay in memory; beyond it they go to files, so that memory does not grow with the number of
views. A file holds the very bytes, so the result does not depend on the budget.
"""

from __future__ import annotations

import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import numpy as np

from walkaround.io.atomic import output_error
from walkaround.types import Float32Array

MEMORY_BUDGET = 512 * 2**20
"""Bytes that stay in memory; thirty views of 1000 px stay below. Beside it a thread takes about 200 bytes a
pixel of one view."""


class Maps(Protocol):
    """The inverse depth of the views by their index: a list, or what a :class:`ArrayStore` holds."""

    def __getitem__(self, index: int, /) -> Float32Array: ...


class ArrayStore:
    """Arrays by name, shared by threads. What is in it is not to be changed in place: ``take`` it first.

    Parameters
    ----------
    folder
        Where a scratch folder is made once it is needed; the system's temporary folder when None.
    budget
        Bytes kept in memory; MEMORY_BUDGET when None.
    """

    def __init__(self, folder: Path | None = None, budget: int | None = None) -> None:
        self._parent = folder
        self._budget = MEMORY_BUDGET if budget is None else budget
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        self._kept: OrderedDict[str, np.ndarray] = OrderedDict()  # in memory, the least recently used first
        self._files: dict[str, Path] = {}
        self._derived: set[str] = set()  # names in memory that can be made again
        self._bytes = 0
        self._numbers = 0
        self._lock = threading.RLock()

    def __enter__(self) -> ArrayStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def bytes_kept(self) -> int:
        """What is in memory at present."""
        return self._bytes

    def close(self) -> None:
        """Forget everything and remove the files."""
        with self._lock:
            self._kept.clear()
            self._files.clear()
            self._derived.clear()
            self._bytes = 0
            if self._scratch is not None:
                self._scratch.cleanup()
                self._scratch = None

    def put(self, name: str, values: np.ndarray) -> None:
        """Keep an array, instead of an earlier one of that name.

        Raises
        ------
        OutputError
            The scratch folder cannot be written.
        """
        with self._lock:
            self.drop(name)
            self._keep(name, values)

    def get(self, name: str) -> Any:
        """Return an array; ``KeyError`` when there is none of that name."""
        with self._lock:
            if name in self._kept:
                self._kept.move_to_end(name)
                return self._kept[name]
            values = np.load(self._files[name])
            self._keep(name, values)
            return values

    def take(self, name: str) -> Any:
        """Return an array and forget it: the caller may change it."""
        with self._lock:
            values = self.get(name)
            self.drop(name)
            return values

    def derived(self, name: str, make: Callable[[], np.ndarray]) -> Any:
        """Return an array that ``make`` can make again: it never goes to a file."""
        with self._lock:
            if name in self._kept:
                return self.get(name)
        values = make()  # two threads may make the same array: the bytes are the same
        with self._lock:
            if name not in self._kept:
                self._derived.add(name)
                self._keep(name, values)
        return values

    def drop(self, name: str) -> None:
        """Forget an array, if there is one of that name."""
        with self._lock:
            if name in self._kept:
                self._bytes -= self._kept.pop(name).nbytes
            self._derived.discard(name)
            path = self._files.pop(name, None)
            if path is not None:
                path.unlink(missing_ok=True)

    def _keep(self, name: str, values: np.ndarray) -> None:
        self._kept[name] = values
        self._bytes += values.nbytes
        while self._bytes > self._budget and len(self._kept) > 1:
            oldest, array = next(iter(self._kept.items()))
            if oldest not in self._derived and oldest not in self._files:
                self._files[oldest] = self._write(array)
            self._derived.discard(oldest)
            self._bytes -= self._kept.pop(oldest).nbytes

    def _write(self, values: np.ndarray) -> Path:
        try:
            if self._scratch is None:
                self._scratch = tempfile.TemporaryDirectory(prefix=".depth-", dir=self._parent)
            self._numbers += 1
            path = Path(self._scratch.name, f"{self._numbers}.npy")
            np.save(path, values)
        except OSError as error:
            where = Path(self._scratch.name) if self._scratch else self._parent or Path(tempfile.gettempdir())
            raise output_error(where, error) from error
        return path


class StoredMaps:
    """Maps of all views, such as the inverse depth at the end of a step, read when asked for."""

    def __init__(self, store: ArrayStore, kind: str) -> None:
        self._store, self._kind = store, kind

    def __getitem__(self, index: int) -> Float32Array:
        values: Float32Array = self._store.get(f"{self._kind} {index}")
        return values

    def put(self, index: int, values: Float32Array) -> None:
        """Keep the map of a view."""
        self._store.put(f"{self._kind} {index}", values)

    def drop(self, indices: Iterable[int]) -> None:
        """Forget the maps of some views."""
        for index in indices:
            self._store.drop(f"{self._kind} {index}")
