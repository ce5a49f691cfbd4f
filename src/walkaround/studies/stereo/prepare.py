"""Put the views of a recipe into a folder: ``source`` without depth, ``train`` and ``test`` with it."""

from __future__ import annotations

from pathlib import Path

from walkaround.dataset.readers import Dataset
from walkaround.errors import UsageError
from walkaround.studies.frame.seeds import rng_of
from walkaround.studies.stereo.dtu import list_scans, read_dtu
from walkaround.studies.stereo.own import read_scenes
from walkaround.studies.stereo.recipe import StereoRecipe
from walkaround.studies.stereo.scenes import StereoSet, write_scenes
from walkaround.types import Progress

_TEST_SHARE = 0.25


def prepare_scenes(recipe: StereoRecipe, folder: Path, progress: Progress) -> None:
    """Write the sets that are not there yet.

    Raises
    ------
    FormatError, UsageError
        As the readers say.
    """
    parts = [part for part in ("source", "train", "test") if not StereoSet.is_saved(folder / part)]
    labelled_there = recipe.data is not None or recipe.dtu is not None
    simulated: dict[str, list[str]] = {}
    if parts and (recipe.source is None or not labelled_there):
        simulated = _simulate(recipe, folder / "dataset", lambda share: progress(0.6 * share))
    for number, part in enumerate(parts):

        def share(done: float, number: int = number) -> None:
            progress(0.6 + 0.4 * (number + done) / len(parts))

        if part != "source" and recipe.dtu is not None:
            scans = list_scans(recipe.dtu, part)
            scans = scans[: recipe.max_objects or None]
            scenes = read_dtu(
                recipe.dtu, scans, light=recipe.dtu_light, height_px=recipe.size_px,
                num_sources=recipe.num_sources, progress=share,
            )  # fmt: skip
            write_scenes(folder / part, scenes, len(scans), depth=True)
            continue
        root = recipe.source if part == "source" else recipe.data
        dataset = Dataset(root or folder / "dataset")
        keys = simulated[part] if root is None else _keys(dataset, part)
        keys = keys[: recipe.max_objects or None]
        found = read_scenes(
            dataset, keys, size_px=recipe.size_px, views=recipe.views, num_sources=recipe.num_sources,
            crop="object" if root is None else recipe.crop, depth=part != "source", progress=share,
        )  # fmt: skip
        write_scenes(folder / part, found, len(keys), depth=part != "source")
    progress(1.0)


def _simulate(recipe: StereoRecipe, root: Path, progress: Progress) -> dict[str, list[str]]:
    """Render a dataset; return the objects of each part, every class in each."""
    from walkaround.simulate.dataset_options import SimulateDatasetOptions
    from walkaround.simulating import simulate_dataset

    counts = {
        "train": recipe.train_instances, "test": recipe.test_instances, "source": recipe.source_instances,
    }  # fmt: skip
    options = SimulateDatasetOptions(
        classes=recipe.classes,
        instances=sum(counts.values()),
        views=recipe.views,
        size=recipe.size_px * 3 // 2,  # the object is cut out
        arc_deg=recipe.arc_deg,
        jitter_deg=3.0,
        start="random",
    )
    simulate_dataset(root, options=options, workers=recipe.threads, progress=progress)
    places = [part for part, count in counts.items() for _ in range(count)]
    keys: dict[str, list[str]] = {part: [] for part in counts}
    for key in sorted(Dataset(root).keys()):
        keys[places[int(key.rpartition("-")[2])]].append(key)
    return keys


def _keys(dataset: Dataset, part: str) -> list[str]:
    """Return all objects of a source, or those of a split; without splits, a quarter is for the test."""
    if part == "source":
        return dataset.keys()
    if (dataset.root / "splits" / f"{part}.json").is_file():
        return dataset.split(part).keys()
    keys = sorted(dataset.keys())
    if len(keys) < 2:
        raise UsageError(f"{dataset.root} has {len(keys)} objects; training and testing need two or more.")
    order = rng_of(0, "split").permutation(len(keys))
    count = max(1, round(_TEST_SHARE * len(keys)))
    chosen = order[:count] if part == "test" else order[count:]
    return [keys[number] for number in sorted(chosen)]
