"""Exporting one scene, or a dataset scene by scene."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from walkaround.dataset.description import read_description
from walkaround.dataset.exchange.base import About, Exporter
from walkaround.dataset.exchange.formats import EXPORTERS
from walkaround.dataset.exchange.options import ExportOptions
from walkaround.dataset.readers import Dataset, Scene
from walkaround.dataset.readers.place import open_folder
from walkaround.dataset.schema import RECORD_NAME
from walkaround.dataset.splits import read_splits
from walkaround.errors import FormatError, InputError, OutputError, UsageError
from walkaround.types import Progress, no_progress

logger = logging.getLogger(__name__)

_SPLITS = ("train", "val", "test")


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What an export came to."""

    keys: tuple[str, ...]
    """Scenes that were written."""
    left_out: tuple[tuple[str, str], ...]
    """Scenes that were not, and why."""


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What a path names."""

    scenes: Dataset | tuple[Scene, ...]
    is_one: bool
    """A single scene, which is exported into OUT itself and whose faults are errors."""
    about: About


def export_scenes(
    source: Path,
    out: Path,
    format_name: str,
    *,
    options: ExportOptions | None = None,
    where: str | None = None,
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> Exported:
    """Write a scene, or all scenes of a dataset, in another format.

    Parameters
    ----------
    source
        A sequence's folder, a dataset in any layout that :class:`~walkaround.dataset.readers.Dataset` reads,
        or ``<dataset>/<class>/<instance>`` of one, also where the dataset is an archive.
    out
        A single scene is written into it, many into ``<class>/<instance>`` below it.
    format_name
        One of ``walkaround.dataset.exchange.formats.EXPORTERS``.
    where
        SQL condition that chooses scenes of a dataset.
    overwrite
        Write into a folder that is not empty; what lies there and has other names stays.

    Raises
    ------
    UsageError
        The format is unknown, or the condition wrong.
    InputError, FormatError
        The source does not exist, has no scenes, or the single scene lacks what the format needs.
    OutputError
        ``out`` cannot be written, or is not empty.
    """
    if format_name not in EXPORTERS:
        raise UsageError(f"There is no format {format_name!r:.40}. Use one of {', '.join(EXPORTERS)}.")
    kind = EXPORTERS[format_name]
    if not kind.beside:
        _check_apart(source, out)
    selection = select_scenes(source, where)
    if not kind.beside and not overwrite and out.is_dir() and any(out.iterdir()):
        raise OutputError(f"{out} is not empty. Choose another --out, or write over it with --overwrite.")
    exporter = kind(out, options or ExportOptions(), selection.about)
    result = _add_all(exporter, selection, progress)
    if not result.keys:
        count = len(result.left_out)
        raise FormatError(f"None of the {count} scenes of {source} could be exported as {format_name}.")
    exporter.finish()
    return result


def _add_all(exporter: Exporter, selection: Selection, progress: Progress) -> Exported:
    """Give every scene to an exporter; of many scenes, those that lack something are left out."""
    keys, left_out = [], []
    for number, scene in enumerate(selection.scenes):
        whole = selection.is_one and not exporter.one_dataset
        folder = exporter.out if whole else exporter.out / scene.class_label / scene.instance_id
        try:
            exporter.add(scene, folder)
            keys.append(scene.key)
        except FormatError as error:
            if selection.is_one:
                raise
            logger.warning("left out: %s", error)
            left_out.append((scene.key, str(error)))
        progress((number + 1) / max(len(selection.scenes), 1))
    return Exported(keys=tuple(keys), left_out=tuple(left_out))


def select_scenes(source: Path, where: str | None = None) -> Selection:
    """Return the scenes that a path names.

    Raises
    ------
    UsageError
        There is a condition, and the path names one scene; or the condition is wrong.
    InputError
        The path names nothing that is there.
    FormatError
        There are no scenes.
    """
    if is_scene_folder(source):
        if where is not None:
            raise UsageError(f"--where chooses scenes of a dataset, and {source} is one scene.")
        scene = open_folder(source)
        return Selection(
            scenes=(scene,), is_one=True, about=_about(source.resolve().parent.parent, [scene.key])
        )
    if source.exists():
        dataset = Dataset(source) if where is None else Dataset(source).query(where)
        return Selection(scenes=dataset, is_one=False, about=_about(source, dataset.keys()))
    root, key = source.parent.parent, f"{source.parent.name}/{source.name}"
    if not root.exists():
        raise InputError(f"{source} does not exist.")
    try:
        scene = Dataset(root, statuses=None)[key]
    except KeyError as error:
        raise InputError(f"{source} does not exist: {error.args[0]}") from error
    return Selection(scenes=(scene,), is_one=True, about=_about(root, [scene.key]))


def _check_apart(source: Path, out: Path) -> None:
    """Raise UsageError when an export would write over what it reads, or into a dataset."""
    start, end = source.resolve(), out.resolve()
    around = start.parents[:2] if is_scene_folder(source) or not source.exists() else ()
    if end == start or start in end.parents or end in around:
        raise UsageError(f"--out {out} lies in the dataset that is exported. Choose a folder outside of it.")


def is_scene_folder(path: Path) -> bool:
    """True for the folder of one scene, of any status."""
    return (path / RECORD_NAME).is_file() or (path / "images").is_dir()


def _about(root: Path, keys: Iterable[str]) -> About:
    """Return what ``dataset.json`` and ``splits/`` of a dataset tell."""
    value = (read_description(root) if root.is_dir() else None) or {}
    licence, wanted = value.get("licence"), set(keys)
    splits = read_splits(root, _SPLITS) if root.is_dir() else {}
    return About(
        name=str(value.get("name") or root.resolve().stem),
        licence=licence if isinstance(licence, str) else None,
        split_of={key: name for name, members in splits.items() for key in members if key in wanted},
    )
