"""Photos out of a zip or tar archive that nobody vouches for.

Nothing of a member's name becomes a path: photos are written as ``00001.jpg``, ``00002.png`` ... in the order
in which a folder of them would be read. So no name can leave the folder, collide, or be too much for a file
system. What is written is counted as it is written; sizes that the archive claims are never believed.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import stat
import tarfile
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from walkaround.errors import InputError, WalkaroundError
from walkaround.io.atomic import output_error
from walkaround.io.image import HEIC_SUFFIXES, PHOTO_SUFFIXES, natural_key

_MAGIC = {
    b"PK\x03\x04": "zip",
    b"PK\x05\x06": "zip",
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\0": "xz",
}
_OPENERS = {"gzip": gzip.open, "bzip2": bz2.open, "xz": lzma.open}
_BLOCK = 1 << 20
_FREE_BYTES = 100_000_000
"""A small archive may grow to this, whatever its ratio."""
_HEADER_TYPES = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
_MAX_HEADER_BYTES = 1 << 20
"""Of one extended tar header."""
_MAX_DIRECTORY_BYTES = 20_000_000
"""Of a zip's list of members, which is read as a whole."""


@dataclass(frozen=True, kw_only=True)
class ArchiveLimits:
    """What an archive may hold."""

    max_members: int = 20_000
    max_unpacked_mb: float = 10_000.0
    """All members together, those that are not photos included where they must be unpacked to pass them."""
    max_ratio: float = 200.0
    """Unpacked over packed size; photos stay below 2, uncompressed ones of flat colour below 100."""


def archive_kind(path: Path) -> str | None:
    """Return ``zip``, ``gzip``, ``bzip2``, ``xz`` or ``tar`` by the first bytes; None for anything else.

    No video begins like one.
    """
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except OSError:
        return None
    if head[257:262] == b"ustar":
        return "tar"
    return next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), None)


def extract_photos(archive: Path, folder: Path, *, limits: ArchiveLimits) -> int:
    """Write the archive's photos into ``folder``, which must be empty, and return their number.

    Members that are no photos by their name are passed over, as in a folder; so are hidden ones and what
    macOS adds.

    Raises
    ------
    InputError
        It is damaged, encrypted or over a limit, holds links, devices, names that leave their folder, the
        same name twice, photos in several folders, or none.
    OutputError
        ``folder`` cannot be written.
    """
    kind = archive_kind(archive)
    allowed = min(limits.max_unpacked_mb * 1e6, max(_FREE_BYTES, limits.max_ratio * archive.stat().st_size))
    budget = _Budget(archive, int(allowed), limits)
    photos: list[PurePosixPath] = []
    with _reading(archive):
        members = _zip_members(archive, budget) if kind == "zip" else _tar_members(archive, kind, budget)
        for name, content in members:
            if not _is_photo(name):
                continue
            photos.append(name)
            with content:
                _write(content, folder / f"unsorted-{len(photos) - 1}", budget, counted=kind == "zip")
    _check_names(photos, archive)
    _number(photos, folder)
    return len(photos)


@dataclass
class _Budget:
    """Counts members and unpacked bytes."""

    archive: Path
    bytes_left: int
    limits: ArchiveLimits
    members: int = 0
    ended: bool = False
    """Whether a tar's end mark was the last header seen."""

    def member(self) -> None:
        self.members += 1
        if self.members > self.limits.max_members:
            raise self.refusal(f"it holds more than {self.limits.max_members} files")

    def take(self, size: int) -> None:
        self.bytes_left -= size
        if self.bytes_left < 0:
            raise self.refusal(
                f"it unpacks to more than {self.limits.max_unpacked_mb:g} MB, or to more than "
                f"{self.limits.max_ratio:g} times its size"
            )

    def refusal(self, why: str) -> InputError:
        return InputError(
            f"{self.archive} was refused: {why}. If you trust this archive, unpack it and pass the folder."
        )


def _zip_members(archive: Path, budget: _Budget) -> Iterator[tuple[PurePosixPath, IO[bytes]]]:
    _check_directory(archive, budget)
    with zipfile.ZipFile(archive) as opened:
        for info in opened.infolist():
            budget.member()
            name = _safe_name(info.filename, budget)
            mode = info.external_attr >> 16
            if info.is_dir() or stat.S_ISDIR(mode):
                continue
            if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
                raise budget.refusal(f"{info.filename!r} is a link or a device")
            if not _is_photo(name):
                continue
            if info.flag_bits & 1:
                raise budget.refusal("it is encrypted")
            yield name, opened.open(info)


def _check_directory(archive: Path, budget: _Budget) -> None:
    """Look at the size of a zip's directory before it is read (APPNOTE.TXT 4.3.16)."""
    with archive.open("rb") as file:
        file.seek(max(0, archive.stat().st_size - (1 << 16) - 22))
        tail = file.read()
    at = tail.rfind(b"PK\x05\x06")
    if at >= 0 and int.from_bytes(tail[at + 12 : at + 16], "little") > _MAX_DIRECTORY_BYTES:
        raise budget.refusal("its list of files is too long")


def _tar_members(
    archive: Path, kind: str | None, budget: _Budget
) -> Iterator[tuple[PurePosixPath, IO[bytes]]]:
    opener: Any = _OPENERS.get(kind or "", open)
    with (
        opener(archive, "rb") as raw,
        tarfile.open(fileobj=_Counted(raw, budget), mode="r|", tarinfo=_headers(budget)) as opened,
    ):
        for info in opened:
            budget.member()
            name = _safe_name(info.name, budget)
            if info.isdir():
                continue
            content = opened.extractfile(info) if info.isreg() and not info.issparse() else None
            if content is None:
                raise budget.refusal(f"{info.name!r} is a link, a device or a sparse file")
            yield name, content
    if not budget.ended:
        raise EOFError("it ends without an end mark: it is cut off")


def _headers(budget: _Budget) -> type[tarfile.TarInfo]:
    """Return a class of tar headers that notes the end mark of the archive, which tarfile does not ask for.

    Extended headers of absurd size, which would be read into memory as a whole, are refused.
    """

    class Header(tarfile.TarInfo):
        @classmethod
        def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Header:
            budget.ended = not any(buf) and len(buf) == tarfile.BLOCKSIZE
            info = super().frombuf(buf, encoding, errors)
            if info.type in _HEADER_TYPES and info.size > _MAX_HEADER_BYTES:
                raise tarfile.ReadError(f"a header of {info.size} bytes")
            return info

    return Header


class _Counted(io.RawIOBase):
    """A stream that takes every byte read from a budget."""

    def __init__(self, raw: IO[bytes], budget: _Budget) -> None:
        self._raw = raw
        self._budget = budget

    def read(self, size: int = -1) -> bytes:
        data = self._raw.read(_BLOCK if size < 0 else size)
        self._budget.take(len(data))
        return data


def _safe_name(text: str, budget: _Budget) -> PurePosixPath:
    """Return a member's name; refuse one that an honest archive has not."""
    name = PurePosixPath(text.replace("\\", "/"))
    if name.is_absolute() or ".." in name.parts or "\0" in text or text[1:2] == ":":
        raise budget.refusal(f"the name {text!r:.100} leaves the folder")
    return name


def _is_photo(name: PurePosixPath) -> bool:
    hidden = name.name.startswith(".") or "__MACOSX" in name.parts
    return not hidden and name.suffix.lower() in PHOTO_SUFFIXES | HEIC_SUFFIXES


def _write(content: IO[bytes], path: Path, budget: _Budget, *, counted: bool) -> None:
    """Copy a member to a file, block by block."""
    try:
        file = path.open("xb")
    except OSError as error:
        raise output_error(path, error) from error
    with file:
        while block := content.read(_BLOCK):
            if counted:
                budget.take(len(block))
            try:
                file.write(block)
            except OSError as error:
                raise output_error(path, error) from error


def _check_names(photos: list[PurePosixPath], archive: Path) -> None:
    if not photos:
        known = ", ".join(sorted(PHOTO_SUFFIXES))
        raise InputError(f"{archive} holds no photos ({known}). Pass an archive of photos.")
    name, count = Counter(photos).most_common(1)[0]
    if count > 1:
        raise InputError(f"{archive} holds {str(name)!r} {count} times. Pack the photos anew.")
    folders = Counter(str(photo.parent) for photo in photos)
    if len(folders) > 1:
        listed = ", ".join(f"{folder!r} ({count})" for folder, count in folders.most_common(4))
        raise InputError(
            f"{archive} holds photos in {len(folders)} folders: {listed}. Pack one folder alone."
        )


def _number(photos: list[PurePosixPath], folder: Path) -> None:
    """Rename the files by their place in the order of names that a folder of photos has."""
    order = sorted(range(len(photos)), key=lambda i: (natural_key(photos[i].name), photos[i].name))
    for place, index in enumerate(order, start=1):
        suffix = photos[index].suffix.lower()
        (folder / f"unsorted-{index}").rename(folder / f"{place:05d}{suffix}")


@contextmanager
def _reading(archive: Path) -> Iterator[None]:
    """Turn what the libraries raise at a damaged archive into one error."""
    try:
        yield
    except WalkaroundError:
        raise
    except (
        Exception
    ) as error:  # zlib.error, BadZipFile, TarError, EOFError, NotImplementedError, struct.error ...
        reason = f"{type(error).__name__}: {error}"
        raise InputError(
            f"{archive} is damaged or packed in an unknown way ({reason:.200}). Pack it anew."
        ) from error
