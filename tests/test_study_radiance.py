"""The study of radiance fields: its data, a tiny run end to end, its recipe."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from walkaround.errors import UsageError
from walkaround.studies.radiance.prepare import PRETRAIN, TEST, TRAIN, prepare, read_objects
from walkaround.studies.radiance.recipe import FULL, RadianceRecipe
from walkaround.studies.radiance.study import RadianceStudy
from walkaround.types import no_progress

torch = pytest.importorskip("torch")

TINY = RadianceRecipe(
    few=1, many=2, target_objects=1, test_objects=1, views=9, size_px=32, test_views=1,
    pretrain_steps=2, tune_steps=2, rays=16, coarse=4, fine=4, orbit_frames=2, seeds=(0,), threads=1,
    device="cpu", checkpoint_every=1,
)  # fmt: skip


@pytest.fixture
def recipe(toys: Path) -> RadianceRecipe:
    """A recipe with a rendered dataset of four objects for both parts."""
    captures = (toys / "mug" / "mug-0000",)
    return dataclasses.replace(TINY, pretrain_data=toys, target_data=toys, captures=captures)


def test_objects_are_kept_apart_and_cut_to_size(recipe: RadianceRecipe, tmp_path: Path) -> None:
    prepare(recipe, tmp_path, no_progress)
    train, test = ({path.name.partition("-")[2] for path in (tmp_path / p).iterdir()} for p in (TRAIN, TEST))
    assert len(train) == len(test) == 1 and not train & test
    many = read_objects(tmp_path, PRETRAIN)
    assert len(many) == 2 and all(len(views) == 9 and views.depth is None for views in many)
    assert read_objects(tmp_path, PRETRAIN, 1)[0].names == many[0].names, "few are the first of many"
    assert many[0].images_srgb.shape == (9, 32, 32, 3) and many[0].depth_range.shape == (9, 4)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npz")}
    prepare(recipe, tmp_path, no_progress)
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npz")}


def test_a_tiny_study(recipe: RadianceRecipe, tmp_path: Path) -> None:
    from walkaround.studies.frame import run_study

    results = run_study(RadianceStudy(), recipe, tmp_path / "out")
    assert len(results.rows) == 4
    rows = {row["arm"]: row["metrics"] for row in results.rows}
    for metrics in rows.values():
        assert np.isfinite(list(metrics.values())).all() and metrics["psnr_mug-0000"] > 3
    # both scratch arms start from the same untrained network, and one goes further
    assert rows["scratch"]["psnr_4_untuned"] == rows["scratch-long"]["psnr_4_untuned"]
    assert rows["scratch"]["psnr_4"] != rows["scratch-long"]["psnr_4"]
    job = tmp_path / "out" / "jobs" / "pre-many" / "0"
    assert (job / "orbit.mp4").is_file() and (job / "pictures.jpg").is_file()
    assert not (tmp_path / "out" / "jobs" / "scratch" / "0" / "orbit.mp4").exists()
    assert "pre-many" in (tmp_path / "out" / "table.txt").read_text()
    assert json.loads((tmp_path / "out" / "results.json").read_text())["study"] == "radiance"


def test_a_run_that_was_cut_off_gives_the_same_network(recipe: RadianceRecipe, tmp_path: Path) -> None:
    from walkaround.studies.frame import Job, load_result
    from walkaround.studies.radiance import training

    prepare(recipe, tmp_path / "data", no_progress)
    kept = []
    for name, stop in (("whole", 9.0), ("cut", 0.6)):
        (tmp_path / name).mkdir()

        def progress(share: float, stop: float = stop) -> None:
            if share > stop:
                raise KeyboardInterrupt

        job = Job(
            arm="pre-many", seed=1, data_dir=tmp_path / "data", folder=tmp_path / name, device="cpu",
            checkpoint_every=1, progress=progress,
        )  # fmt: skip
        try:
            training.train_arm(recipe, job)
        except KeyboardInterrupt:
            training.train_arm(recipe, dataclasses.replace(job, progress=no_progress))
        kept.append(load_result(job.folder / training.TUNED))
    assert all(torch.equal(kept[0][name], kept[1][name]) for name in kept[0])


def test_senseless_recipes_are_refused(recipe: RadianceRecipe, tmp_path: Path) -> None:
    dataclasses.replace(FULL, pretrain_data=tmp_path).check()
    with pytest.raises(UsageError, match="1000 or fewer"):
        FULL.check()
    for change, said in (({"few": 50}, "few"), ({"views": 4}, "views"), ({"rate": 0.0}, "rate")):
        with pytest.raises(UsageError, match=said):
            dataclasses.replace(TINY, **change).check()
    with pytest.raises(UsageError, match="has 4 objects"):
        prepare(dataclasses.replace(recipe, few=9, many=9), tmp_path, no_progress)
