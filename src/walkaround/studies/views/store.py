"""All images that a study looks at, cut and stored once in ``images.npy`` and ``views.npz``."""

from __future__ import annotations

import json
import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from walkaround.dataset.readers import Dataset, Scene
from walkaround.errors import FormatError, UsageError, WalkaroundError
from walkaround.io.atomic import atomic_path, write_json
from walkaround.studies.frame.scenes import scenes_by_class
from walkaround.studies.frame.seeds import rng_of
from walkaround.studies.views.azimuth import azimuths_deg, is_whole_circle
from walkaround.studies.views.recipe import ViewsRecipe
from walkaround.studies.views.rows import Views
from walkaround.types import ByteArray, FloatArray, Progress

logger = logging.getLogger(__name__)
IMAGES, VIEWS, DONE = "images.npy", "views.npz", "prepared.json"
_TEST_SHARE = 0.25


@dataclass(frozen=True, kw_only=True)
class Store:
    """What the jobs read."""

    images: ByteArray  # (N, 3, S, S) sRGB, memory-mapped
    views: Views
    classes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Thing:
    """One object's images."""

    images: ByteArray  # (V, 3, S, S)
    azimuth_deg: FloatArray  # (V,)


def prepare(recipe: ViewsRecipe, folder: Path, progress: Progress) -> None:
    """Render the miniature when there is no data, then cut and store all images.

    Raises
    ------
    UsageError
        The data has too few classes or objects.
    FormatError
        It is no dataset.
    """
    if (folder / DONE).is_file():
        return
    root = recipe.data
    if root is None:
        root = folder / "dataset"
        _simulate(recipe, root, lambda share: progress(0.7 * share))
    start = 0.7 if recipe.data is None else 0.0
    scenes = _chosen(Dataset(root), recipe)
    train = _training_keys(root, [scene.key for scene in scenes])
    _write(scenes, train, recipe, folder, lambda share: progress(start + (1 - start) * share))


def read_store(folder: Path) -> Store:
    """Return what :func:`prepare` left.

    Raises
    ------
    FormatError
        It is missing or broken.
    """
    try:
        about = json.loads((folder / DONE).read_text(encoding="utf-8"))
        with np.load(folder / VIEWS, allow_pickle=False) as arrays:
            views = Views(**{name: arrays[name] for name in arrays})
        images = np.load(folder / IMAGES, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, TypeError) as error:
        raise FormatError(
            f"{folder} holds no prepared data ({error!s:.200}). Run with --overwrite."
        ) from error
    return Store(images=images[: len(views.label)], views=views, classes=tuple(about["classes"]))


def _simulate(recipe: ViewsRecipe, root: Path, progress: Progress) -> None:
    from walkaround.simulate.dataset_options import SimulateDatasetOptions
    from walkaround.simulating import simulate_dataset

    options = SimulateDatasetOptions(
        classes=recipe.classes,
        instances=recipe.instances,
        views=recipe.views,
        size=max(96, recipe.size_px * 3 // 2 // 2 * 2),  # the same images for all small networks
    )
    simulate_dataset(root, options=options, workers=recipe.threads, progress=progress)


def _chosen(dataset: Dataset, recipe: ViewsRecipe) -> list[Scene]:
    chosen = scenes_by_class(dataset, recipe.max_objects)
    count = len({scene.class_label for scene in chosen})
    if count < 2:
        raise UsageError(f"{dataset.root} has {count} classes; classification needs two or more.")
    return chosen


def _training_keys(root: Path, keys: list[str]) -> set[str]:
    """Return the objects to train on: those of ``splits/train.json``, else three quarters of each class."""
    path = root / "splits" / "train.json"
    if path.is_file():
        return set(json.loads(path.read_text(encoding="utf-8"))) & set(keys)
    train = set()
    for label in {key.rpartition("/")[0] for key in keys}:
        own = sorted(key for key in keys if key.rpartition("/")[0] == label)
        order = rng_of(0, "split", label).permutation(len(own))
        count = math.ceil(len(own) * _TEST_SHARE)
        train |= {own[number] for number in order[count:]}
    return train


def _write(
    scenes: list[Scene], train: set[str], recipe: ViewsRecipe, folder: Path, progress: Progress
) -> None:
    labels = tuple(sorted({scene.class_label for scene in scenes}))
    columns: dict[str, list[Any]] = {"label": [], "thing": [], "azimuth_deg": [], "is_train": []}
    columns["whole_circle"] = []
    shape = (len(scenes) * recipe.max_views, 3, recipe.size_px, recipe.size_px)
    skipped = 0
    with atomic_path(folder / IMAGES) as temporary:
        out = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.uint8, shape=shape)
        row = 0
        for number, scene in enumerate(scenes):
            try:
                thing = _load(scene, recipe)
            except WalkaroundError as error:
                logger.info("%s is left out: %s", scene.key, error)
                skipped += 1
                continue
            count = len(thing.images)
            out[row : row + count] = thing.images
            row += count
            columns["label"] += [labels.index(scene.class_label)] * count
            columns["thing"] += [number] * count
            columns["azimuth_deg"] += thing.azimuth_deg.tolist()
            columns["is_train"] += [scene.key in train] * count
            columns["whole_circle"] += [is_whole_circle(thing.azimuth_deg)] * count
            progress((number + 1) / len(scenes))
        out.flush()
        del out
    arrays: dict[str, Any] = {name: np.array(values) for name, values in columns.items()}
    if not row or arrays["is_train"].all() or not arrays["is_train"].any():
        raise UsageError(f"Of {len(scenes)} objects none is left for training, or none for the test.")
    with atomic_path(folder / VIEWS) as temporary:
        np.savez(temporary, **arrays)
    write_json(folder / DONE, {"classes": labels, "num_images": row, "num_left_out": skipped})


def _load(scene: Scene, recipe: ViewsRecipe) -> _Thing:
    """Read the views of an object and where they stand.

    Raises
    ------
    FormatError
        Something is missing or broken.
    """
    from walkaround.dataset.torch.options import ViewOptions
    from walkaround.dataset.torch.source import pose_scene
    from walkaround.dataset.torch.view import load_view

    posed = pose_scene(scene)
    if len(posed.images) < 2:
        raise FormatError(f"{scene.key} has {len(posed.images)} views with cameras")
    crop: Any = recipe.crop
    options = ViewOptions(num_views=1, size_px=recipe.size_px, crop=crop)
    count = min(recipe.max_views, len(posed.images))
    chosen = np.linspace(0, len(posed.images) - 1, count).round().astype(int)
    rng = np.random.default_rng(0)  # nothing is drawn: no jitter
    pixels = [load_view(posed, int(n), options, rng).image_bgr[..., ::-1] for n in chosen]
    notes = {} if scene.record is None else scene.record.notes.get("cameras", {})
    azimuth = azimuths_deg(
        posed.cam_from_world[chosen],
        own_world=scene.record is not None and not scene.record.metric,
        canonical=isinstance(notes, dict) and "canonical" in notes,
    )
    return _Thing(images=np.stack(pixels).transpose(0, 3, 1, 2), azimuth_deg=azimuth)
