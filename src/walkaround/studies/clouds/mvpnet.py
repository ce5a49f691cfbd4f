"""MVPNet's clouds by its official split: ``<class id>/<instance id>.pcd`` and a JSON list of such names.

Yu et al. 2023, arXiv:2303.06042. The split lists have 70,191 and 17,634 clouds of 180 classes.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path, PurePosixPath

from walkaround.errors import FormatError
from walkaround.io.pointcloud import read_cloud
from walkaround.studies.clouds.samples import CloudSet, collect_clouds
from walkaround.types import Progress, no_progress

logger = logging.getLogger(__name__)


def read_split(path: Path) -> tuple[tuple[str, str], ...]:
    """Read one of MVPNet's split files.

    Returns
    -------
    tuple
        Name of the file and id of the class, of each cloud.

    Raises
    ------
    FormatError
        It is no JSON list of ``<class id>/<instance id>.pcd``.
    """
    try:
        listed = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise FormatError(f"The split {path} cannot be read: {error!s:.200}.") from error
    if not isinstance(listed, list):
        raise FormatError(f"The split {path} is no JSON list.")
    return tuple(_entry(name, path) for name in listed)


def read_mvpnet(
    root: Path,
    split: Path,
    *,
    num_points: int = 2048,
    class_names: tuple[str, ...] | None = None,
    missing_ok: bool = False,
    seed: int = 0,
    progress: Progress = no_progress,
) -> CloudSet:
    """Read the clouds of a split.

    Parameters
    ----------
    root
        The unpacked download: a folder a class id, with the PCD files.
    split
        ``mvpnet_split_train.json`` or ``mvpnet_split_val.json``.
    num_points
        Points kept of each cloud, drawn at random by ``seed``.
    class_names
        Class ids in the order of the labels, from the training split; None for those of this one.
    missing_ok
        Leave out clouds that are not there (a download of some classes), with a warning.

    Raises
    ------
    FormatError
        The split or a cloud is broken, or clouds are missing.
    """
    entries = read_split(split)
    here = [entry for entry in entries if (root / entry[0]).is_file()]
    if len(here) < len(entries):
        first = next(name for name, _ in entries if not (root / name).is_file())
        gone = len(entries) - len(here)
        text = f"{root} lacks {gone} of the {len(entries)} clouds of {split.name}, as {first}"
        if not missing_ok or not here:
            raise FormatError(f"{text}. Unpack the missing classes, or allow --missing-ok.")
        logger.warning("%s; they are left out.", text)
    names = class_names or tuple(dict.fromkeys(name for _, name in entries))
    return collect_clouds(
        here,
        lambda name: read_cloud(root / name).points_in_world,
        num_points=num_points,
        class_names=sorted(names, key=int) if class_names is None else names,
        seed=seed,
        progress=progress,
    )


def _entry(name: object, path: Path) -> tuple[str, str]:
    parts = PurePosixPath(name).parts if isinstance(name, str) else ()
    if len(parts) != 2 or not parts[0].isdecimal() or not parts[1].endswith(".pcd"):
        raise FormatError(f"The split {path} lists {name!r:.80}; expected '<class id>/<instance id>.pcd'.")
    return "/".join(parts), parts[0]
