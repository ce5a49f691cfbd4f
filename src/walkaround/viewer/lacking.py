"""Which files a sequence lacks, or has cut off: what its record lists beside what is there."""

from __future__ import annotations

from dataclasses import dataclass

from walkaround.dataset.readers.scene import Scene
from walkaround.dataset.schema import SequenceRecord

_PARTS = ("images", "sparse", "depth", "confidence", "masks", "cloud.ply", "cloud.pcd")
_NAMED = 3


@dataclass(frozen=True, kw_only=True)
class Lacking:
    """What is not as the build left it."""

    paths: frozenset[str] = frozenset()
    """Files that are missing."""
    problems: tuple[str, ...] = ()
    """For a person, a line a part."""


def find_lacking(scene: Scene) -> Lacking:
    """Compare a sequence's files with its record; of other layouts, say only when there is nothing at all.

    Parts from an overlay are passed over: they replace what the build wrote.

    Raises
    ------
    FormatError
        The record is broken.
    """
    if scene.record is None:
        there = scene.image_names or scene.has_cameras or scene.files.folders("")
        if there or any(scene.files.size(name) is not None for name in ("cloud.ply", "cloud.pcd")):
            return Lacking()
        where = scene.files.where("").rstrip("/")
        return Lacking(problems=(f"{where} is gone or empty: was the folder moved or removed?",))
    missing: set[str] = set()
    problems = []
    for part, sizes in _listed(scene.record).items():
        if part in scene.repaired:
            continue
        found = {path: scene.files.size(path) for path in sizes}
        lost = [path for path, size in found.items() if size is None]
        changed = [path for path, size in found.items() if size not in (None, sizes[path])]
        missing.update(lost)
        if lost:
            problems.append(_said(part, lost, len(sizes), "missing"))
        if changed:
            problems.append(_said(part, changed, len(sizes), "of another size than the build wrote"))
    return Lacking(paths=frozenset(missing), problems=tuple(problems))


def _listed(record: SequenceRecord) -> dict[str, dict[str, int]]:
    """Return part -> path -> size in bytes; of a part that two stages write, what the later one wrote."""
    found: dict[str, dict[str, int]] = {}
    for stage in record.stages.values():
        own: dict[str, dict[str, int]] = {}
        for path, size in stage.outputs.items():
            part = path.partition("/")[0]
            if part in _PARTS:
                own.setdefault(part, {})[path] = size
        found |= own
    return found


def _said(part: str, paths: list[str], total: int, what: str) -> str:
    if paths == [part]:
        return f"{part} is {what}"
    if len(paths) == total:
        return f"{part}: all {total} files are {what}"
    names = ", ".join(path.partition("/")[2] for path in paths[:_NAMED]) + ", ..." * (len(paths) > _NAMED)
    return f"{part}: {len(paths)} of {total} files {'is' if len(paths) == 1 else 'are'} {what} ({names})"
