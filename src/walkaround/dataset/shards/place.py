"""Where shards lie: a folder, read with ``pread``, or a URL, read by ranges through fsspec.

A folder's shards are not mapped into memory: pages of a mapping count as the process's own until the system
wants them back, so every worker of an epoch would seem to grow to the size of the dataset.
"""

from __future__ import annotations

import os
import tempfile
import threading
import weakref
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

    @property
    def root(self) -> str:
        """The folder or URL."""

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


class FolderPlace:
    """A folder."""

    def __init__(self, root: str) -> None:
        self.root = root
        self._files = _OpenFiles()

    def __reduce__(self) -> tuple[type[FolderPlace], tuple[str]]:
        return FolderPlace, (self.root,)

    def read(self, name: str, offset: int, size: int) -> bytes:
        path = self.where(name)
        if self._files.process != os.getpid():  # a fork: another process may hold the lock's copy
            self._files = _OpenFiles()
        try:
            data = self._files.read(path, offset, size)
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
    """The last few files that were read stay open; ranges are read without a position, by any thread."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self._files: OrderedDict[str, int] = OrderedDict()
        self._lock = threading.Lock()
        weakref.finalize(self, _close, self._files)

    def read(self, path: str, offset: int, size: int) -> bytes:
        with self._lock:
            descriptor = self._files.pop(path, None)
            if descriptor is None:
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            self._files[path] = descriptor
            if len(self._files) > _MAX_OPEN:
                os.close(self._files.popitem(last=False)[1])
            return os.pread(descriptor, size, offset)


def _close(files: OrderedDict[str, int]) -> None:
    while files:
        os.close(files.popitem()[1])


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
