"""Clouds of a dataset that walkaround built, or of anything its readers open (docs/reading.md)."""

from __future__ import annotations

import logging
from pathlib import Path

from walkaround.errors import FormatError
from walkaround.studies.clouds.samples import CloudSet, collect_clouds
from walkaround.types import Float32Array, Progress, no_progress

logger = logging.getLogger(__name__)


def read_dataset_clouds(
    root: Path,
    split: str | Path | None = None,
    *,
    num_points: int = 2048,
    class_names: tuple[str, ...] | None = None,
    seed: int = 0,
    progress: Progress = no_progress,
) -> CloudSet:
    """Read ``cloud.ply`` or ``cloud.pcd`` of each accepted sequence.

    Parameters
    ----------
    root
        A dataset: ours, or MVImgNet's or MVPNet's layout.
    split
        Name of a split of the dataset (``train``), a split file such as MVPNet's, or None for all of it.
    class_names
        The order of the classes, from the training clouds; None for those found.

    Raises
    ------
    FormatError
        There is no dataset, split or cloud, or a cloud is broken.
    """
    from walkaround.dataset.readers import Dataset

    dataset = Dataset(root)
    part = dataset if split is None else dataset.split(split)
    keys = [
        scene.key for scene in part if any(scene.files.size(f"cloud{suffix}") for suffix in (".ply", ".pcd"))
    ]
    if not keys:
        raise FormatError(f"{root} has no clouds{f' in its split {split}' if split else ''}.")
    if len(keys) < len(part):
        gone = len(part) - len(keys)
        logger.warning("%d of %d sequences of %s have no cloud and are left out.", gone, len(part), root)

    def read(key: str) -> Float32Array:
        cloud = dataset[key].read_cloud()
        if cloud is None:
            raise FormatError(f"{root}: the cloud of {key} is gone. Make the list again with refresh.")
        return cloud.points_in_world

    return collect_clouds(
        [(key, key.partition("/")[0]) for key in keys],
        read,
        num_points=num_points,
        class_names=class_names,
        seed=seed,
        progress=progress,
    )
