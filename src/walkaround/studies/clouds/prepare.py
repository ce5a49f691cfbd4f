"""Put the clouds of a recipe into a folder: ``source``, ``train`` and ``test``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from walkaround.studies.clouds.augment import HARD
from walkaround.studies.clouds.mvpnet import read_mvpnet
from walkaround.studies.clouds.own import read_dataset_clouds
from walkaround.studies.clouds.recipe import CloudRecipe
from walkaround.studies.clouds.samples import CloudSet
from walkaround.studies.clouds.scanobjectnn import read_scanobjectnn
from walkaround.studies.clouds.shapes import make_shapes
from walkaround.types import Progress

_FAR = 1_000_000
"""Between the seeds of the source's, the training and the test shapes."""


def prepare_clouds(recipe: CloudRecipe, folder: Path, progress: Progress) -> None:
    """Write the sets that are not there yet.

    Raises
    ------
    FormatError, UsageError
        As the loaders say.
    """
    parts = ["train", "test", *(["source"] if recipe.pretrain else [])]
    for number, part in enumerate(parts):
        if not CloudSet.is_saved(folder / part):

            def share(done: float, number: int = number) -> None:
                progress((number + done) / len(parts))

            names = CloudSet.load(folder / "train").class_names if part == "test" else None
            kind = recipe.source if part == "source" else recipe.target
            _LOADERS[kind](recipe, part, names, share).save(folder / part)
    progress(1.0)


def _shapes(recipe: CloudRecipe, part: str, names: tuple[str, ...] | None, progress: Progress) -> CloudSet:
    instances = {
        "source": recipe.source_instances, "train": recipe.train_instances, "test": recipe.test_instances,
    }  # fmt: skip
    return make_shapes(
        recipe.classes,
        instances[part],
        first=_FAR * list(instances).index(part),
        num_points=recipe.num_points,
        hard=None if part == "source" else HARD,
        progress=progress,
    )


def _mvpnet(recipe: CloudRecipe, part: str, names: tuple[str, ...] | None, progress: Progress) -> CloudSet:
    root = recipe.mvpnet or Path()
    name = "mvpnet_split_val.json" if part == "test" else "mvpnet_split_train.json"
    return read_mvpnet(
        root,
        (recipe.mvpnet_splits or root) / name,
        num_points=recipe.num_points,
        class_names=names,
        missing_ok=recipe.missing_ok,
        progress=progress,
    )


def _scanobjectnn(
    recipe: CloudRecipe, part: str, names: tuple[str, ...] | None, progress: Progress
) -> CloudSet:
    return read_scanobjectnn(
        recipe.scanobjectnn or Path(), recipe.variant, part, num_points=recipe.num_points
    )


def _dataset(recipe: CloudRecipe, part: str, names: tuple[str, ...] | None, progress: Progress) -> CloudSet:
    return read_dataset_clouds(
        recipe.dataset or Path(),
        "test" if part == "test" else "train",
        num_points=recipe.num_points,
        class_names=names,
        progress=progress,
    )


_LOADERS: dict[str, Callable[[CloudRecipe, str, tuple[str, ...] | None, Progress], CloudSet]] = {
    "shapes": _shapes,
    "mvpnet": _mvpnet,
    "scanobjectnn": _scanobjectnn,
    "dataset": _dataset,
}
