"""All images, masks and flows that the study looks at, cut and stored once."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from walkaround.dataset.readers import Dataset, Scene
from walkaround.dataset.torch.options import ViewOptions
from walkaround.dataset.torch.source import PosedScene, pose_scene
from walkaround.dataset.torch.view import LoadedView, load_view
from walkaround.errors import FormatError, UsageError, WalkaroundError
from walkaround.io.atomic import atomic_path, write_json
from walkaround.studies.frame.scenes import scenes_by_class
from walkaround.studies.frame.seeds import rng_of
from walkaround.studies.saliency.flow import (
    confirmed,
    cropped_flow,
    dis_flow,
    exact_flow,
    find_flow,
    read_flow,
)
from walkaround.studies.saliency.recipe import SaliencyRecipe
from walkaround.types import BoolArray, ByteArray, Float32Array, IntArray, Progress

logger = logging.getLogger(__name__)
DONE = "prepared.json"
_TEST_SHARE = 0.25
_ELEVATION_DEG = (22.0, 30.0)
"""Of the miniature: little up and down between neighbours, so that they overlap."""
_MASKED_SHARE = 0.01
"""An object that covers less of every view is left out."""


@dataclass(frozen=True, kw_only=True)
class Store:
    """What the jobs read. A pair is two neighbouring views of an object, in either order."""

    images: ByteArray  # (N, 3, S, S) sRGB
    masks: ByteArray  # (N, S, S), 255 for object
    is_train: BoolArray  # (N,)
    first: IntArray  # (P,) rows of images
    second: IntArray  # (P,)
    flow: Float32Array  # (P, 2, S, S), by the recipe's flow
    valid: BoolArray  # (P, S, S), where that flow is confirmed
    truth_flow: Float32Array  # (P, 2, S, S), by depth and cameras; of the test's pairs
    truth_valid: BoolArray  # (P, S, S); nowhere without depth


_SHAPES: dict[str, tuple[str, str, tuple[int, ...]]] = {
    "images": ("image", "u1", (3,)),
    "masks": ("image", "u1", ()),
    "flow": ("pair", "f2", (2,)),
    "valid": ("pair", "?", ()),
    "truth_flow": ("pair", "f2", (2,)),
    "truth_valid": ("pair", "?", ()),
}


def prepare(recipe: SaliencyRecipe, folder: Path, progress: Progress) -> None:
    """Render the miniature when there is no data, then cut images and find flows.

    Raises
    ------
    UsageError
        Nothing is left for training or for the test.
    InputError
        A flow file is missing or broken.
    """
    if (folder / DONE).is_file():
        return
    root = recipe.data
    if root is None:
        root = folder / "dataset"
        _simulate(recipe, root, lambda share: progress(0.7 * share))
    start = 0.7 if recipe.data is None else 0.0
    # a short walk is rejected as a capture; here it is what was asked for
    dataset = Dataset(root) if recipe.data else Dataset(root, statuses=None)
    scenes = scenes_by_class(dataset, recipe.max_objects)
    writer = _Writer(recipe, folder, len(scenes))
    train = _training_keys(dataset, [scene.key for scene in scenes])
    for number, scene in enumerate(scenes):
        writer.add(scene, is_train=scene.key in train)
        progress(start + (1 - start) * (number + 1) / len(scenes))
    writer.finish()


def read_store(folder: Path) -> Store:
    """Return what :func:`prepare` left.

    Raises
    ------
    FormatError
        It is missing or broken.
    """
    try:
        about = json.loads((folder / DONE).read_text(encoding="utf-8"))
        counts = {"image": int(about["num_images"]), "pair": int(about["num_pairs"])}
        arrays: dict[str, Any] = {
            name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)[: counts[kind]]
            for name, (kind, _, _) in _SHAPES.items()
        }
        with np.load(folder / "rows.npz", allow_pickle=False) as rows:
            arrays |= {name: rows[name] for name in ("is_train", "first", "second")}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise FormatError(
            f"{folder} holds no prepared data ({error!s:.200}). Run with --overwrite."
        ) from error
    return Store(**arrays)


def _simulate(recipe: SaliencyRecipe, root: Path, progress: Progress) -> None:
    from walkaround.simulate.dataset_options import SimulateDatasetOptions
    from walkaround.simulating import simulate_dataset

    options = SimulateDatasetOptions(
        classes=recipe.classes,
        instances=recipe.instances,
        views=recipe.views,
        size=max(32, recipe.size_px * 3 // 2 // 2 * 2),
        arc_deg=recipe.arc_deg,
        start="random",
        jitter_deg=1.0,
        elevation_deg=_ELEVATION_DEG,
        clutter=0.5,
    )
    simulate_dataset(root, options=options, workers=recipe.threads, progress=progress)


def _training_keys(dataset: Dataset, keys: list[str]) -> set[str]:
    """Return the objects to train on: those of ``splits/train.json``, else three quarters."""
    if (dataset.root / "splits" / "train.json").is_file():
        return set(dataset.split("train").keys()) & set(keys)
    order = rng_of(0, "split").permutation(len(keys))
    return {keys[number] for number in order[round(len(keys) * _TEST_SHARE) :]}


class _Writer:
    """Writes the arrays of :class:`Store`, an object after the other."""

    def __init__(self, recipe: SaliencyRecipe, folder: Path, num_scenes: int) -> None:
        self._recipe, self._folder = recipe, folder
        most = {"image": num_scenes * recipe.max_views, "pair": num_scenes * 2 * (recipe.max_views - 1)}
        size = (recipe.size_px, recipe.size_px)
        self._arrays = {
            name: np.lib.format.open_memmap(
                folder / f"{name}.npy", mode="w+", dtype=kind, shape=(most[of], *more, *size)
            )
            for name, (of, kind, more) in _SHAPES.items()
        }
        self._rows: dict[str, list[Any]] = {"is_train": [], "first": [], "second": []}
        self._errors_px: list[float] = []
        self._skipped = 0

    def add(self, scene: Scene, *, is_train: bool) -> None:
        """Take in an object; one that lacks masks or cameras is left out."""
        try:
            posed = pose_scene(scene)
            views = _load(posed, self._recipe)
        except WalkaroundError as error:
            logger.info("%s is left out: %s", scene.key, error)
            self._skipped += 1
            return
        start = len(self._rows["is_train"])
        for number, view in enumerate(views):
            self._arrays["images"][start + number] = view.image_bgr[..., ::-1].transpose(2, 0, 1)
            self._arrays["masks"][start + number] = view.mask
            self._rows["is_train"].append(is_train)
        for number in range(len(views) - 1):
            self._add_pair(posed, views, number, start, is_train=is_train)

    def _add_pair(
        self, posed: PosedScene, views: list[LoadedView], number: int, start: int, *, is_train: bool
    ) -> None:
        ends = ((number, number + 1), (number + 1, number))
        flows = [self._flow(posed, views, *end) for end in ends]
        truths = [_exact(posed, views, *end) for end in ends]
        for way, (first, second) in enumerate(ends):
            row = len(self._rows["first"])
            self._rows["first"].append(start + first)
            self._rows["second"].append(start + second)
            flow, valid = _checked(flows, way, self._recipe.tolerance_px)
            self._arrays["flow"][row], self._arrays["valid"][row] = flow, valid
            if is_train:
                continue
            truth, known = _checked(truths, way, self._recipe.tolerance_px)
            self._arrays["truth_flow"][row], self._arrays["truth_valid"][row] = truth, known
            both = valid & known
            if both.any():
                self._errors_px.append(float(np.median(np.hypot(*(flow - truth)[:, both]))))

    def _flow(
        self, posed: PosedScene, views: list[LoadedView], first: int, second: int
    ) -> tuple[Float32Array, BoolArray]:
        recipe = self._recipe
        if recipe.flow == "exact":
            return _exact(posed, views, first, second)
        everywhere = np.ones((recipe.size_px, recipe.size_px), dtype=bool)
        if recipe.flow == "dis" or recipe.flow_dir is None:
            return dis_flow(views[first].image_bgr, views[second].image_bgr), everywhere
        names = posed.images[first], posed.images[second]
        flow = read_flow(find_flow(recipe.flow_dir, posed.scene.key, *names))
        camera = posed.cameras[first]
        return cropped_flow(flow, views[first].crop, (camera.width, camera.height)), everywhere

    def finish(self) -> None:
        """Write what tells that all is there.

        Raises
        ------
        UsageError
            Nothing is left for training or for the test.
        """
        rows: dict[str, Any] = {name: np.array(values) for name, values in self._rows.items()}
        is_train = rows["is_train"].astype(bool)
        if not len(rows["first"]) or is_train.all() or not is_train.any():
            raise UsageError(
                f"Of the objects with masks and two views none is left for training, or none for the test"
                f" ({self._skipped} left out; --verbose says why)."
            )
        for array in self._arrays.values():
            array.flush()
        self._arrays.clear()
        with atomic_path(self._folder / "rows.npz") as temporary:
            np.savez(temporary, **rows)
        errors = {"flow_error_px": round(float(np.median(self._errors_px)), 3)} if self._errors_px else {}
        about = {"num_images": len(is_train), "num_pairs": len(rows["first"]), "num_left_out": self._skipped}
        write_json(self._folder / DONE, {**about, **errors})


def _load(posed: PosedScene, recipe: SaliencyRecipe) -> list[LoadedView]:
    """Return the first views of an object, with depth where all have it.

    Raises
    ------
    FormatError
        Something is missing or broken.
    """
    if len(posed.images) < 2:
        raise FormatError(f"{posed.scene.key} has {len(posed.images)} views with cameras")
    record = posed.scene.record
    with_depth = record is not None and "depth" in record.stages
    options = ViewOptions(
        num_views=1,
        size_px=recipe.size_px,
        crop="centre",
        masks=True,
        depth=with_depth,
        distortion="keep" if recipe.flow == "files" else "undistort",
    )
    count = min(recipe.max_views, len(posed.images))
    rng = np.random.default_rng(0)  # nothing is drawn: no jitter
    views = [load_view(posed, number, options, rng) for number in range(count)]
    largest = max(float((view.mask > 127).mean()) for view in views if view.mask is not None)
    if largest < _MASKED_SHARE:
        raise FormatError(f"{posed.scene.key} has empty masks")
    return views


def _exact(
    posed: PosedScene, views: list[LoadedView], first: int, second: int
) -> tuple[Float32Array, BoolArray]:
    """Return the flow of depth and cameras; known nowhere without depth, or where the lens bends."""
    one, other = views[first], views[second]
    if one.depth is None or one.distortion.any() or other.distortion.any():
        size = len(one.image_bgr)
        return np.zeros((2, size, size), np.float32), np.zeros((size, size), dtype=bool)
    poses = posed.cam_from_world
    return exact_flow(one, other, poses[second] @ np.linalg.inv(poses[first]))


def _checked(
    flows: list[tuple[Float32Array, BoolArray]], way: int, tolerance_px: float
) -> tuple[Float32Array, BoolArray]:
    """Return one of two opposite flows, and where the other confirms it."""
    (there, known), (back, known_back) = flows[way], flows[1 - way]
    return there, confirmed(there, back, tolerance_px, (known, known_back))
