"""Captures in folders: ``<class>/<video>``, ``<class>/<folder or archive of photos>``."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from walkaround.errors import UsageError
from walkaround.io.suffixes import is_archive_name, is_photo_name, is_video_name

logger = logging.getLogger(__name__)

_MAX_NAMED = 5


@dataclass(frozen=True, slots=True)
class Found:
    """A capture in a tree."""

    relative: str
    """Path from the top of the tree, with slashes."""
    folder: str
    """The class folder; empty for a capture that lies directly in the top folder."""


@dataclass
class _LeftOut:
    """What is no capture, by the reason."""

    names: dict[str, list[str]] = field(default_factory=dict)

    def add(self, reason: str, name: str) -> None:
        self.names.setdefault(reason, []).append(name)

    def lines(self) -> Iterator[str]:
        for reason, names in self.names.items():
            more = f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
            yield f"{reason}: {', '.join(map(repr, names[:_MAX_NAMED]))}{more}"


_LOOSE_PHOTOS = "photos that lie loose in a class folder (give each capture a folder of its own)"
_DEEPER = "folders without photos directly in them (captures lie in <class>/<capture>, not deeper)"
_OTHER = "files that are no video and no archive"
_NO_CLASS = "captures outside any class folder (move them into one, or give --class-label)"
_EMPTY = "class folders without any capture"


def holds_captures(top: Path) -> bool:
    """Return whether a folder is a tree of captures rather than one capture of photos."""
    names = _listed(top)
    if any(is_photo_name(entry.name) and entry.is_file() for entry in names):
        return False
    return any(_is_capture_file(entry) or (entry.is_dir() and _is_no_dead_end(entry)) for entry in names)


def _is_no_dead_end(folder: os.DirEntry[str]) -> bool:
    return any(
        inner.is_dir() or _is_capture_file(inner) or is_photo_name(inner.name)
        for inner in _listed(Path(folder.path))
    )


def walk_tree(top: Path, *, flat: bool) -> Iterator[Found]:
    """Yield the captures of a tree in the order of their names, and warn about what was left out.

    Parameters
    ----------
    flat
        Captures that lie directly in ``top`` count too; their class is named elsewhere.

    Raises
    ------
    UsageError
        The tree cannot be read or holds no capture.
    """
    left_out = _LeftOut()
    count = 0
    for entry in _listed(top):
        for found in _top_entry(entry, left_out, flat=flat):
            count += 1
            yield found
    lines = list(left_out.lines())
    if not count:
        seen = "\n".join(f"  {line}" for line in lines) or "  nothing but hidden files"
        raise UsageError(
            f"{top} holds no captures. They lie in <class>/<video> or <class>/<folder of photos>;"
            f" found were\n{seen}"
        )
    for line in lines:
        logger.warning("%s: left out were %s.", top, line)


def _top_entry(entry: os.DirEntry[str], left_out: _LeftOut, *, flat: bool) -> Iterator[Found]:
    """Yield what one entry of the top folder holds: a class folder's captures, or a capture itself."""
    if _is_capture_file(entry):
        if flat:
            yield Found(entry.name, "")
        else:
            left_out.add(_NO_CLASS, entry.name)
        return
    if not entry.is_dir():
        left_out.add(_OTHER, entry.name)
        return
    inside = _listed(Path(entry.path))
    photos = any(is_photo_name(inner.name) and inner.is_file() for inner in inside)
    captures = [
        found for inner in inside for found in _class_entry(entry.name, inner, left_out, quiet=photos)
    ]
    if photos and not captures:
        if flat:
            yield Found(entry.name, "")
        else:
            left_out.add(_NO_CLASS, entry.name)
        return
    if photos:
        left_out.add(_LOOSE_PHOTOS, entry.name)
    if not captures:
        left_out.add(_EMPTY, entry.name)
    yield from captures


def _class_entry(folder: str, entry: os.DirEntry[str], left_out: _LeftOut, *, quiet: bool) -> Iterator[Found]:
    """Yield the capture that one entry of a class folder is; ``quiet`` where the folder itself may be one."""
    relative = f"{folder}/{entry.name}"
    if _is_capture_file(entry):
        yield Found(relative, folder)
    elif entry.is_dir():
        if any(is_photo_name(inner.name) for inner in _listed(Path(entry.path))):
            yield Found(relative, folder)
        elif not quiet:
            left_out.add(_DEEPER, relative)
    elif not quiet:
        left_out.add(_OTHER, relative)


def _is_capture_file(entry: os.DirEntry[str]) -> bool:
    return (is_video_name(entry.name) or is_archive_name(entry.name)) and entry.is_file()


def _listed(folder: Path) -> list[os.DirEntry[str]]:
    """List a folder by name, without hidden files."""
    try:
        with os.scandir(folder) as entries:
            return sorted(
                (entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name
            )
    except OSError as error:
        raise UsageError(f"{folder} cannot be listed: {error.strerror}. Check its rights.") from error
