"""The files of one scene, wherever they lie: in a folder, in zip archives, in an overlay.

A path is relative to the scene, as in the layout of MVImgNet 2.0: ``images/001.jpg``, ``masks/001.png``,
``sparse/0/cameras.bin``. Its first piece is called a part.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from walkaround.errors import FormatError
from walkaround.io.image import natural_key

MAX_FILE_BYTES = 1 << 30
"""No file of a scene is read when it is larger."""


class SceneFiles(Protocol):
    """Reads files of one scene. Picklable, so that workers can have it."""

    def names(self, folder: str) -> tuple[str, ...]:
        """Return the names of the files in a folder, as people count; empty when it is not there."""

    def folders(self, folder: str) -> tuple[str, ...]:
        """Return the names of the folders in a folder; empty when it is not there."""

    def size(self, path: str) -> int | None:
        """Return the size of a file in bytes; None when it is not there."""

    def read(self, path: str) -> bytes:
        """Return a file's bytes; :class:`FormatError` when that cannot be."""

    def where(self, path: str) -> str:
        """Return how to call a file in a message."""


@dataclass(frozen=True)
class FolderFiles:
    """The files below a folder."""

    base: Path

    def names(self, folder: str) -> tuple[str, ...]:
        return _sorted(entry.name for entry in self._entries(folder) if entry.is_file())

    def folders(self, folder: str) -> tuple[str, ...]:
        return _sorted(entry.name for entry in self._entries(folder) if entry.is_dir())

    def size(self, path: str) -> int | None:
        try:
            status = self._path(path).stat()
        except OSError:
            return None
        return status.st_size if _is_file(status) else None

    def read(self, path: str) -> bytes:
        place = self._path(path)
        try:
            with place.open("rb") as file:
                if os.fstat(file.fileno()).st_size > MAX_FILE_BYTES:
                    raise FormatError(f"{place} is larger than {MAX_FILE_BYTES >> 20} MB.")
                return file.read()
        except OSError as error:
            raise FormatError(f"{place} cannot be read ({error.strerror}).") from error

    def where(self, path: str) -> str:
        return str(self.base / path)

    def _path(self, path: str) -> Path:
        _check(path)
        return self.base / path

    def _entries(self, folder: str) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(self._path(folder)) as found:
                return [entry for entry in found if not entry.name.startswith(".")]
        except OSError:
            return []


@dataclass(frozen=True)
class Member:
    """Where a file lies in a zip archive, as its directory says."""

    archive: Path
    offset: int
    """Of the local header."""
    packed: int
    size: int
    method: int
    """0 stored, 8 deflated."""
    crc: int


@dataclass(frozen=True)
class ZipFiles:
    """Files in zip archives, read in place: no archive is opened before its bytes are wanted."""

    members: Mapping[str, Member]

    def names(self, folder: str) -> tuple[str, ...]:
        return _sorted(rest for rest in self._below(folder) if "/" not in rest)

    def folders(self, folder: str) -> tuple[str, ...]:
        return _sorted({rest.partition("/")[0] for rest in self._below(folder) if "/" in rest})

    def size(self, path: str) -> int | None:
        member = self.members.get(path)
        return None if member is None else member.size

    def read(self, path: str) -> bytes:
        member = self.members.get(path)
        if member is None:
            raise FormatError(f"{path} is in none of the scene's archives.")
        if member.method not in (0, 8):
            raise FormatError(f"{self.where(path)} is packed by method {member.method}; extract the archive.")
        if max(member.size, member.packed) > MAX_FILE_BYTES:
            raise FormatError(f"{self.where(path)} is larger than {MAX_FILE_BYTES >> 20} MB.")
        try:
            packed = _packed_bytes(member)
            data = _inflated(packed, member.size) if member.method else packed
        except (OSError, struct.error, zlib.error) as error:
            raise FormatError(f"{self.where(path)} cannot be read: {error}.") from error
        if len(data) != member.size or zlib.crc32(data) != member.crc:
            raise FormatError(f"{self.where(path)} is damaged (its checksum is another); download it again.")
        return data

    def where(self, path: str) -> str:
        member = self.members.get(path)
        return path if member is None else f"{path} in {member.archive}"

    def _below(self, folder: str) -> list[str]:
        prefix = f"{folder}/" if folder else ""
        return [path[len(prefix) :] for path in self.members if path.startswith(prefix)]


@dataclass(frozen=True)
class Mount:
    """Where a part lies: ``masks/x`` is ``x`` below ``inner`` of other files."""

    files: SceneFiles
    inner: str = ""

    def path(self, rest: str) -> str:
        return "/".join(piece for piece in (self.inner, rest) if piece)


@dataclass(frozen=True)
class MountedFiles:
    """Files of which some parts lie elsewhere. A part that is mounted is only looked for there."""

    base: SceneFiles
    parts: Mapping[str, Mount]

    def names(self, folder: str) -> tuple[str, ...]:
        files, inner = self._at(folder)
        return files.names(inner)

    def folders(self, folder: str) -> tuple[str, ...]:
        files, inner = self._at(folder)
        return files.folders(inner)

    def size(self, path: str) -> int | None:
        files, inner = self._at(path)
        return files.size(inner)

    def read(self, path: str) -> bytes:
        files, inner = self._at(path)
        return files.read(inner)

    def where(self, path: str) -> str:
        files, inner = self._at(path)
        return files.where(inner)

    def _at(self, path: str) -> tuple[SceneFiles, str]:
        part, _, rest = path.partition("/")
        mount = self.parts.get(part)
        return (self.base, path) if mount is None else (mount.files, mount.path(rest))


@dataclass(frozen=True)
class WithoutFiles:
    """Files of which some are as if they were not there."""

    base: SceneFiles
    hidden: frozenset[str]

    def names(self, folder: str) -> tuple[str, ...]:
        prefix = f"{folder}/" if folder else ""
        return tuple(name for name in self.base.names(folder) if prefix + name not in self.hidden)

    def folders(self, folder: str) -> tuple[str, ...]:
        return self.base.folders(folder)

    def size(self, path: str) -> int | None:
        return None if path in self.hidden else self.base.size(path)

    def read(self, path: str) -> bytes:
        if path in self.hidden:
            raise FormatError(f"{self.where(path)} is damaged, and a repair left it out.")
        return self.base.read(path)

    def where(self, path: str) -> str:
        return self.base.where(path)


def _packed_bytes(member: Member) -> bytes:
    """Return the bytes of a member, still packed; its own header says how long that header is."""
    with member.archive.open("rb") as file:
        file.seek(member.offset)
        magic, name_length, extra_length = struct.unpack("<4s22xHH", file.read(30))
        if magic != b"PK\3\4":
            raise zlib.error("no file starts there; the archive was changed")
        file.seek(name_length + extra_length, os.SEEK_CUR)
        return file.read(member.packed)


def _inflated(packed: bytes, size: int) -> bytes:
    """Unpack no more than the size that was stated, and a byte."""
    return zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, size + 1)


def _check(path: str) -> None:
    if path.startswith("/") or "\0" in path or "\\" in path or ".." in path.split("/"):
        raise FormatError(f"{path!r:.200} leads out of the scene.")


def _is_file(status: os.stat_result) -> bool:
    return (status.st_mode & 0o170000) == 0o100000


def _sorted(names: object) -> tuple[str, ...]:
    return tuple(sorted(names, key=lambda name: (natural_key(name), name)))  # type: ignore[call-overload]
