"""Scenes of a dataset that walkaround built or simulated, or of anything the readers open (reading.md)."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from walkaround.dataset.readers import Dataset, Scene
from walkaround.errors import FormatError, WalkaroundError
from walkaround.studies.stereo.scenes import StereoScene, nearest_views
from walkaround.types import FloatArray, Progress, no_progress

logger = logging.getLogger(__name__)


def read_scenes(
    dataset: Dataset,
    keys: Sequence[str],
    *,
    size_px: int,
    views: int,
    num_sources: int,
    crop: str = "whole",
    depth: bool = True,
    progress: Progress = no_progress,
) -> Iterator[StereoScene]:
    """Yield the objects that have enough views with cameras (and depth); others are logged and left out.

    Parameters
    ----------
    size_px
        Side of the square images; lens distortion is undone.
    views
        Views next to each other that are taken of an object: the middle one of its capture and the nearest.
    num_sources
        Views that each of them is matched with.
    crop
        ``whole``, ``centre`` or ``object``, as :class:`~walkaround.dataset.torch.options.ViewOptions` says.
    depth
        Read true depth, too.
    """
    for number, key in enumerate(keys):
        try:
            yield _read_scene(dataset[key], size_px, views, num_sources, crop, depth)
        except WalkaroundError as error:
            logger.info("%s is left out: %s", key, error)
        progress((number + 1) / len(keys))


def _read_scene(
    scene: Scene, size_px: int, views: int, num_sources: int, crop: Any, depth: bool
) -> StereoScene:
    from walkaround.dataset.torch.options import ViewOptions
    from walkaround.dataset.torch.source import pose_scene
    from walkaround.dataset.torch.view import load_view

    posed = pose_scene(scene)
    chosen = _neighbours(posed.cam_from_world, views)
    options = ViewOptions(size_px=size_px, crop=crop, depth=depth)
    rng = np.random.default_rng(0)  # nothing is drawn: no jitter
    loaded = [load_view(posed, int(number), options, rng) for number in chosen]
    grey = [np.rint(view.image_bgr @ _LUMA).astype(np.uint8) for view in loaded]
    ranges = _ranges(scene, [posed.images[number] for number in chosen])
    poses = posed.cam_from_world[chosen]
    depths = [v.depth * v.depth_valid for v in loaded if v.depth is not None and v.depth_valid is not None]
    if depth and max(float(d.max()) for d in depths) <= 0:
        raise FormatError("its depth maps are empty")
    return StereoScene(
        key=scene.key,
        images=np.stack(grey),
        K=np.stack([view.K for view in loaded]),
        cam_from_world=poses,
        inverse_range=ranges,
        sources=nearest_views(poses, num_sources),
        depth=np.stack(depths).astype(np.float32) if depth else None,
    )


_LUMA = np.array([0.114, 0.587, 0.299])
"""Of blue, green and red, as OpenCV's grey has it."""


def _neighbours(cam_from_world: FloatArray, count: int) -> Any:
    """Return the middle view and those nearest to it, in the order of the capture."""
    if len(cam_from_world) < count:
        raise FormatError(f"it has {len(cam_from_world)} views with cameras, {count} are wanted")
    middle = len(cam_from_world) // 2
    return np.sort([middle, *nearest_views(cam_from_world, count - 1)[middle]] if count > 1 else [middle])


def _ranges(scene: Scene, images: Sequence[str]) -> FloatArray:
    """Return the inverse depths to search in each view, by the sparse points, as the depth stage does."""
    from walkaround.depth.views import inverse_range

    model = scene.read_sparse()
    if model is None:
        raise FormatError("it has no cameras")
    place = {view.frame.image: number for number, view in enumerate(model.views)}
    return np.array([inverse_range(model, place[image]) for image in images])
