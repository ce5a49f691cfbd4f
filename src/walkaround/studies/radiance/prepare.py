"""The pictures that the study looks at: read or rendered once, kept as plain arrays."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np

from walkaround.dataset.readers import Dataset, Scene
from walkaround.dataset.readers.place import open_folder
from walkaround.errors import FormatError, UsageError, WalkaroundError
from walkaround.io.atomic import atomic_path, write_json
from walkaround.radiance.views import ViewSet, load_views
from walkaround.studies.frame.seeds import rng_of
from walkaround.studies.radiance.recipe import RadianceRecipe
from walkaround.types import Progress

logger = logging.getLogger(__name__)
DONE = "prepared.json"
PRETRAIN, TRAIN, TEST, CAPTURES = "pretrain", "train", "test", "captures"
_TARGET_CLASSES = 6
_FIELDS = ("images_srgb", "K", "cam_from_world", "middle", "depth_range")


def prepare(recipe: RadianceRecipe, folder: Path, progress: Progress) -> None:
    """Leave a folder of objects for each part of the study; does nothing when they are there.

    Raises
    ------
    UsageError
        A dataset has too few objects.
    FormatError
        It is no dataset.
    """
    if (folder / DONE).is_file():
        return
    chosen = {PRETRAIN: _pretraining(recipe, folder, lambda share: progress(0.6 * share))}
    chosen[TRAIN], chosen[TEST] = _target(recipe, folder, lambda share: progress(0.6 + 0.2 * share))
    chosen[CAPTURES] = [open_folder(path) for path in recipe.captures]
    total, done, counts = sum(len(scenes) for scenes in chosen.values()), 0, {}
    for part, scenes in chosen.items():
        counts[part] = 0
        for scene in scenes:
            done += 1
            counts[part] += _keep(scene, recipe, folder / part)
            progress(0.8 + 0.2 * done / total)
    if counts[CAPTURES] < len(recipe.captures):
        raise UsageError("study radiance: a sequence of --captures has no cameras, or fewer than 9 images.")
    if not counts[TRAIN] or not counts[TEST] or counts[PRETRAIN] < recipe.few:
        raise UsageError(
            f"study radiance: too few objects have cameras and {recipe.views} pictures: {counts}."
        )
    write_json(folder / DONE, counts)


def read_objects(folder: Path, part: str, count: int | None = None) -> list[ViewSet]:
    """Return the objects of a part, the first ``count`` of them.

    Raises
    ------
    FormatError
        They are missing or broken.
    """
    paths = sorted((folder / part).glob("*.npz"))[:count]
    try:
        return [_read(path) for path in paths]
    except (OSError, ValueError, KeyError) as error:
        raise FormatError(
            f"{folder / part} cannot be read ({error!s:.200}). Run with --overwrite."
        ) from error


def _keep(scene: Scene, recipe: RadianceRecipe, folder: Path) -> int:
    """Write an object's pictures; 0 when it cannot be used."""
    try:
        views = load_views(scene, recipe.size_px, with_depth=False)
    except WalkaroundError as error:
        logger.info("%s is left out: %s", scene.key, error)
        return 0
    if len(views) <= 8:
        logger.info("%s is left out: %d pictures", scene.key, len(views))
        return 0
    if len(views) > recipe.views:
        views = views.part(np.linspace(0, len(views) - 1, recipe.views).round().astype(np.int64))
    number = len(list(folder.glob("*.npz"))) if folder.is_dir() else 0
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {name: getattr(views, name) for name in _FIELDS}
    with (
        atomic_path(folder / f"{number:05d}-{scene.instance_id}.npz") as temporary,
        temporary.open("wb") as file,
    ):
        np.savez(file, names=np.array(views.names), **arrays)
    return 1


def _read(path: Path) -> ViewSet:
    with np.load(path, allow_pickle=False) as kept:
        names = tuple(str(name) for name in kept["names"])
        return ViewSet(names=names, **{name: kept[name] for name in _FIELDS})


def _pretraining(recipe: RadianceRecipe, folder: Path, progress: Progress) -> list[Scene]:
    """Return the pretraining's objects in a random order, so that the first few are of many classes."""
    dataset = Dataset(recipe.pretrain_data or _miniature(recipe, folder, progress))
    keys = list(dataset.keys())
    if recipe.pretrain_data is None:
        keys = [key for key in keys if key.rpartition("/")[0] not in _target_labels()]
    if len(keys) < recipe.few:
        raise UsageError(f"{dataset.root} has {len(keys)} objects; --few is {recipe.few}.")
    order = rng_of(0, "pretraining").permutation(len(keys))[: recipe.many]
    return [dataset[keys[number]] for number in order]


def _target(recipe: RadianceRecipe, folder: Path, progress: Progress) -> tuple[list[Scene], list[Scene]]:
    """Return the target's objects to train on and to test."""
    dataset = Dataset(recipe.target_data or _miniature(recipe, folder, progress))
    keys = list(dataset.keys())
    if recipe.target_data is None:
        keys = [key for key in keys if key.rpartition("/")[0] in _target_labels()]
    order = rng_of(0, "target").permutation(len(keys))
    keys = [keys[number] for number in order]
    tests = set(_tests(recipe, keys))
    path = dataset.root / "splits" / "test.json"
    if recipe.target_data is not None and path.is_file():
        tests = set(json.loads(path.read_text(encoding="utf-8")))
    train = [dataset[key] for key in keys if key not in tests][: recipe.target_objects]
    test = [dataset[key] for key in keys if key in tests][: recipe.test_objects]
    return train, test


def _tests(recipe: RadianceRecipe, keys: list[str]) -> list[str]:
    """Return the test objects of a target set without splits: as large a share of it as is asked for."""
    share = recipe.test_objects / (recipe.test_objects + recipe.target_objects)
    return keys[len(keys) - max(1, round(share * len(keys))) :] if len(keys) > 1 else []


def _target_labels() -> tuple[str, ...]:
    from walkaround.simulate.instance import CLASS_LABELS

    return CLASS_LABELS[:_TARGET_CLASSES]


def _miniature(recipe: RadianceRecipe, folder: Path, progress: Progress) -> Path:
    """Render all classes: the first few are the target, the others the pretraining."""
    from walkaround.simulate.dataset_options import MAX_CLASSES, SimulateDatasetOptions
    from walkaround.simulating import simulate_dataset

    instances = max(
        -(-recipe.many // (MAX_CLASSES - _TARGET_CLASSES)),
        -(-(recipe.target_objects + recipe.test_objects) // _TARGET_CLASSES),
    )
    options = SimulateDatasetOptions(
        classes=MAX_CLASSES, instances=instances, views=recipe.views, size=recipe.size_px, clutter=0.3
    )
    simulate_dataset(folder / "dataset", options=options, workers=recipe.threads, progress=progress)
    return folder / "dataset"
