"""``SHA256SUMS``: a checksum for every file of a dataset, as ``sha256sum --check`` reads it."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

from walkaround.errors import FormatError
from walkaround.io.atomic import atomic_path
from walkaround.types import Progress, no_progress

SUMS_NAME = "SHA256SUMS"
_LINE = re.compile(r"([0-9a-f]{64}) [ *](.+)")
_BATCH = 512
Key = tuple[str, ...]
"""A path's pieces: the order of the lines."""


def walk(root: Path, inner: Key = ()) -> Iterator[Key]:
    """Yield the files below ROOT in their order, without hidden ones and ``SHA256SUMS``."""
    try:
        with os.scandir(root.joinpath(*inner)) as entries:
            found = sorted((entry.name, entry.is_dir()) for entry in entries if entry.name[0] != ".")
    except OSError as error:
        raise FormatError(f"{root.joinpath(*inner)} cannot be listed ({error.strerror}).") from error
    for name, is_folder in found:
        if is_folder:
            yield from walk(root, (*inner, name))
        elif (*inner, name) != (SUMS_NAME,):
            yield (*inner, name)


def write_sums(root: Path, *, threads: int = 2, progress: Progress = no_progress) -> int:
    """Write ``SHA256SUMS``; return how many files it lists.

    Raises
    ------
    FormatError
        A file cannot be read, or its name holds a line's end.
    OutputError
        It cannot be written.
    """
    count = 0
    with atomic_path(root / SUMS_NAME) as temporary, temporary.open("w", encoding="utf-8") as file:
        for key, digest in _hashed(root, walk(root), threads):
            if digest is None or "\n" in key[-1]:
                raise FormatError(f"{root.joinpath(*key)!s:.200} cannot be read or written as a line.")
            file.write(f"{digest}  {'/'.join(key)}\n")
            count += 1
    progress(1.0)
    return count


def check_sums(
    root: Path, *, threads: int = 2, progress: Progress = no_progress
) -> Iterator[tuple[str, str]]:
    """Yield path and what differs, for files whose checksum is another, that are gone, or are not listed.

    Raises
    ------
    FormatError
        ``SHA256SUMS`` cannot be read.
    """
    total, offset = max((root / SUMS_NAME).stat().st_size, 1), 0
    there = walk(root)
    unlisted = next(there, None)
    listed = _read(root / SUMS_NAME)
    while chunk := list(islice(listed, _BATCH)):
        wanted = dict(chunk)
        for key, digest in _hashed(root, iter(wanted), threads):
            while unlisted is not None and unlisted < key:
                yield "/".join(unlisted), "is not in SHA256SUMS"
                unlisted = next(there, None)
            if unlisted == key:
                unlisted = next(there, None)
            if digest is None:
                yield "/".join(key), "is missing or cannot be read"
            elif digest != wanted[key]:
                yield "/".join(key), "has another checksum"
        offset += sum(67 + len("/".join(key)) for key in wanted)
        progress(min(1.0, offset / total))
    while unlisted is not None:
        yield "/".join(unlisted), "is not in SHA256SUMS"
        unlisted = next(there, None)


def _hashed(root: Path, keys: Iterator[Key], threads: int) -> Iterator[tuple[Key, str | None]]:
    """Yield each file's checksum, in order; None for one that cannot be read."""
    with ThreadPoolExecutor(threads) as pool:
        while chunk := list(islice(keys, _BATCH)):
            yield from zip(chunk, pool.map(lambda key: _digest(root.joinpath(*key)), chunk), strict=True)


def _digest(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def _read(path: Path) -> Iterator[tuple[Key, str]]:
    """Yield path and checksum of each line in the order of :func:`walk`, sorting only when that is needed."""
    before: Key = ()
    try:
        with path.open(encoding="utf-8") as file:
            in_order = all(before < (before := key) for key, _ in _lines(file, path))
        with path.open(encoding="utf-8") as file:
            lines = _lines(file, path)
            yield from lines if in_order else sorted(lines)
    except (OSError, UnicodeDecodeError) as error:
        raise FormatError(f"{path} cannot be read: {error}.") from error


def _lines(file: Iterator[str], path: Path) -> Iterator[tuple[Key, str]]:
    for number, line in enumerate(file, start=1):
        match = _LINE.fullmatch(line.rstrip("\n"))
        pieces = match[2].removeprefix("./").split("/") if match else []
        if match is None or ".." in pieces or "" in pieces:
            raise FormatError(
                f"{path}, line {number}: expected '<64 hex digits>  <path>', found {line!r:.80}."
            )
        yield tuple(pieces), match[1]
