"""Scenes to load, alike from folders, archives and shards."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from walkaround.dataset.readers import Dataset, Scene
from walkaround.dataset.shards.layout import DESCRIPTION_NAME, BoxXywh
from walkaround.dataset.shards.read import Shards
from walkaround.dataset.torch.options import ViewOptions
from walkaround.types import Camera, FloatArray, IntArray

_GROUP = 64
"""Scenes of a folder that a stream takes together, as it takes those of a shard."""


@dataclass(frozen=True, kw_only=True)
class PosedScene:
    """A scene with the cameras of its views; pixels are read when they are wanted."""

    scene: Scene
    images: tuple[str, ...]
    """File names of the views."""
    cameras: tuple[Camera, ...]
    cam_from_world: FloatArray  # (V, 4, 4)
    boxes_xywh: tuple[BoxXywh | None, ...] | None
    """Of the masks, where the shards know them."""
    depth_scale: float | None


class Source:
    """The scenes that may become samples.

    Parameters
    ----------
    data
        A dataset, shards, or the path of either (shards also at a URL).
    options
        Scenes that the index shows to lack something are left out when ``missing`` is ``skip``.
    """

    def __init__(self, data: Dataset | Shards | Path | str, options: ViewOptions) -> None:
        self.data = _opened(data)
        self.numbers: IntArray = np.arange(len(self.data))
        total = len(self.data)
        if options.missing == "skip":
            self.data, self.numbers = _narrowed(self.data, options)
        self.num_left_out = total - len(self.numbers)
        """Scenes that lack something by the index."""
        self.classes: tuple[str, ...] = tuple(self.data.classes)
        self._class_index = {label: number for number, label in enumerate(self.classes)}
        self._recent: OrderedDict[int, PosedScene] = OrderedDict()
        self._keep = options.cache_scenes

    def __len__(self) -> int:
        return len(self.numbers)

    def class_index(self, label: str) -> int:
        """Return the place of a class label in ``classes``."""
        return self._class_index[label]

    def key(self, position: int) -> str:
        """Return ``<class label>/<instance id>`` of a scene, also of one that cannot be loaded."""
        number = int(self.numbers[position])
        return self.data.key(number) if isinstance(self.data, Shards) else self.data.keys()[number]

    def groups(self) -> list[IntArray]:
        """Return positions that lie together: those of one shard, or some of a folder."""
        if isinstance(self.data, Shards):
            edges = np.flatnonzero(np.diff(self.data.shard_of[self.numbers])) + 1
            return list(np.split(np.arange(len(self)), edges))
        return [np.arange(start, min(start + _GROUP, len(self))) for start in range(0, len(self), _GROUP)]

    def posed(self, position: int) -> PosedScene:
        """Return a scene with its cameras; the last few are remembered.

        Raises
        ------
        FormatError
            Its cameras are broken.
        """
        found = self._recent.get(position)
        if found is None:
            number = int(self.numbers[position])
            found = (
                _of_shard(self.data, number)
                if isinstance(self.data, Shards)
                else pose_scene(self.data[number])
            )
            self._recent[position] = found
            while len(self._recent) > self._keep:
                self._recent.popitem(last=False)
        else:
            self._recent.move_to_end(position)
        return found

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is remembered: workers start with nothing."""
        return {**self.__dict__, "_recent": OrderedDict()}


def _opened(data: Dataset | Shards | Path | str) -> Dataset | Shards:
    if isinstance(data, Dataset | Shards):
        return data
    if "://" in str(data) or (Path(data) / DESCRIPTION_NAME).is_file():
        return Shards(data)
    return Dataset(data)


def _narrowed(data: Dataset | Shards, options: ViewOptions) -> tuple[Dataset | Shards, IntArray]:
    """Leave out scenes that lack something by the index, without a look at them."""
    if isinstance(data, Shards):
        ok = data.usable(
            min_views=options.num_views,
            boxes=options.crop == "object",
            masks=options.masks,
            depth=options.depth,
        )
        return data, np.flatnonzero(ok)
    if data.layout == "walkaround":
        condition = f"num_registered >= {options.num_views}"
    else:
        condition = f"has_cameras AND num_images >= {options.num_views}"
        condition += " AND num_masks > 0" * (options.masks or options.crop == "object")
        condition += " AND has_depth" * options.depth
    part = data.query(condition)
    return part, np.arange(len(part))


def _of_shard(shards: Shards, number: int) -> PosedScene:
    files = shards.files(number)
    head = files.head
    scene = Scene(
        class_label=head.class_label,
        instance_id=head.instance_id,
        files=files,
        class_id=head.class_id,
        class_name=head.class_name,
    )
    return PosedScene(
        scene=scene,
        images=head.images,
        cameras=head.cameras,
        cam_from_world=head.cam_from_world,
        boxes_xywh=head.boxes_xywh,
        depth_scale=head.depth_scale,
    )


def pose_scene(scene: Scene) -> PosedScene:
    """Return a scene of a folder or an archive with the cameras of the images that are there.

    Raises
    ------
    FormatError
        Its cameras are broken.
    """
    there = set(scene.image_names)
    views = [view for view in scene.views if view.frame.image in there]
    distinct: dict[Camera, Camera] = {}
    return PosedScene(
        scene=scene,
        images=tuple(view.frame.image for view in views),
        cameras=tuple(distinct.setdefault(view.camera, view.camera) for view in views),
        cam_from_world=np.stack([view.cam_from_world for view in views]) if views else np.zeros((0, 4, 4)),
        boxes_xywh=None,
        depth_scale=None if scene.record is None else scene.record.depth_scale,
    )
