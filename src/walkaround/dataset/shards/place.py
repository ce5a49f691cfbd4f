"""Where shards lie: a folder, read with ``pread``, or a URL, read by ranges through fsspec.

A folder's shards are not mapped into memory: pages of a mapping count as the process's own until the system
wants them back, so every worker of an epoch would seem to grow to the size of the dataset.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from walkaround.errors import FormatError

_MAX_OPEN = 64


class Place(Protocol):
    """Reads files of a folder of shards. Picklable, so that workers can have it."""

    root: str

    def read(self, name: str, offset: int, size: int) -> bytes:
        """Return a range of a file's bytes; :class:`FormatError` when it is not there."""

    def read_all(self, name: str) -> bytes:
        """Return a small file's bytes; :class:`FormatError` when it is not there."""

    def as_file(self, name: str) -> Any:
        """Return a context that gives the path of a file of this machine."""

    def where(self, name: str) -> str:
        """Return how to call a file in a message."""


def local_place(root: Path | str) -> Place:
    """Return the place of a folder or URL."""
    text = str(root)
    return UrlPlace(text.rstrip("/")) if "://" in text else FolderPlace(text)


@dataclass(frozen=True)
class FolderPlace:
    """A folder."""

    root: str

    def read(self, name: str, offset: int, size: int) -> bytes:
        path = self.where(name)
        try:
            data = _OPEN.read(path, offset, size)
        except OSError as error:
            raise FormatError(f"{path} cannot be read ({error.strerror}).") from error
        return _whole(data, size, path, offset)

    def read_all(self, name: str) -> bytes:
        path = Path(self.where(name))
        try:
            return path.read_bytes()
        except OSError as error:
            raise _no_shards(self.root, name, str(error.strerror)) from error

    @contextmanager
    def as_file(self, name: str) -> Iterator[Path]:
        path = Path(self.where(name))
        if not path.is_file():
            raise _no_shards(self.root, name, "it is missing")
        yield path

    def where(self, name: str) -> str:
        return os.path.join(self.root, name)  # noqa: PTH118  a path here takes 3 us, for each image


@dataclass(frozen=True)
class UrlPlace:
    """A folder at a URL."""

    root: str

    def read(self, name: str, offset: int, size: int) -> bytes:
        url = self.where(name)
        try:
            data = self._system.cat_file(self._path(name), start=offset, end=offset + size)
        except Exception as error:  # each file system has its own kinds
            raise FormatError(f"{url} cannot be read ({error}).") from error
        return _whole(bytes(data), size, url, offset)

    def read_all(self, name: str) -> bytes:
        try:
            return bytes(self._system.cat_file(self._path(name)))
        except Exception as error:  # each file system has its own kinds
            raise _no_shards(self.root, name, str(error)) from error

    @contextmanager
    def as_file(self, name: str) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="walkaround-shards-") as scratch:
            path = Path(scratch) / name
            path.write_bytes(self.read_all(name))
            yield path

    def where(self, name: str) -> str:
        return f"{self.root}/{name}"

    @property
    def _system(self) -> Any:
        """The file system; fsspec keeps one a process."""
        import fsspec

        return fsspec.core.url_to_fs(self.root)[0]

    def _path(self, name: str) -> str:
        return f"{self._system._strip_protocol(self.root)}/{name}"


class _OpenFiles:
    """Files that stay open, the last few of them; ranges are read without a position, by many threads."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._files: OrderedDict[str, int] = OrderedDict()
        self._lock = threading.Lock()
        os.register_at_fork(after_in_child=self._after_fork)

    def read(self, path: str, offset: int, size: int) -> bytes:
        with self._lock:
            descriptor = self._files.get(path)
            if descriptor is None:
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                self._files[path] = descriptor
                while len(self._files) > self.limit:
                    os.close(self._files.popitem(last=False)[1])
            else:
                self._files.move_to_end(path)
            return os.pread(descriptor, size, offset)

    def _after_fork(self) -> None:
        self._lock = threading.Lock()


_OPEN = _OpenFiles(_MAX_OPEN)


def _whole(data: bytes, size: int, path: str, offset: int) -> bytes:
    if len(data) != size:
        raise FormatError(
            f"{path} ends within the {size} bytes at {offset}: it is cut off or not the index's."
            " Copy it again."
        )
    return data


def _no_shards(root: str, name: str, reason: str) -> FormatError:
    return FormatError(
        f"{root} holds no finished shards: {name} cannot be read ({reason}). Run `walkaround shard` (again)."
    )
