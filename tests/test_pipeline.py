"""The pipeline with fake stages: order, resume, rejection, kill, what must not survive."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests.trees import tree
from walkaround.dataset.catalog import read_catalog
from walkaround.depth import DepthOptions
from walkaround.errors import OutputError, SequenceRejected, UsageError
from walkaround.frames import FramesOptions
from walkaround.pipeline import STAGES, BuildOptions, build_sequence, sequence_folder
from walkaround.quality.evaluate import evaluate_sequence, format_evaluation
from walkaround.simulate import SimulateOptions, simulate_capture

ALL = ["frames", "cameras", "depth", "masks", "cloud"]
MUG = BuildOptions(class_label="mug", threads=1)


def test_all_stages_run_once_and_in_order(fake_stages: ModuleType, source: Path, tmp_path: Path) -> None:
    shares: dict[str, float] = {}
    root = tmp_path / "root"
    record = build_sequence(
        source, root, options=MUG, progress=lambda stage, share: shares.update({stage: share})
    )
    assert fake_stages.calls == ALL
    assert record.status == "accepted" and record.reasons == ()
    assert shares == dict.fromkeys([stage.name for stage in STAGES if stage.name != "hdr"], 1.0)
    assert [frame.registered for frame in record.frames] == [True] * 9 + [False]
    folder = sequence_folder(root, record)
    names = {path.name for path in folder.iterdir()}
    folders = {"images", "sparse", "depth", "confidence", "masks"}
    assert names == folders | {"cloud.ply", "cloud.pcd", "report.html", "sequence.json"}
    assert sorted(path.name for path in root.iterdir()) == ["catalog.parquet", "dataset.json", "mug"]


def test_a_second_run_does_nothing(fake_stages: ModuleType, source: Path, tmp_path: Path) -> None:
    first = build_sequence(source, tmp_path / "root", options=MUG)
    times = _write_times(tmp_path)
    fake_stages.calls.clear()
    assert build_sequence(source, tmp_path / "root", options=MUG) == first
    assert fake_stages.calls == []
    assert _write_times(tmp_path) == times


def _write_times(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"frames": FramesOptions(num_frames=12)}, ALL),
        ({"seed": 1}, ALL[1:]),
        ({"threads": 2}, []),
        ({"overwrite": True}, ALL),
    ],
)
def test_changed_options_run_what_they_touch(
    fake_stages: ModuleType, source: Path, tmp_path: Path, change: dict[str, object], expected: list[str]
) -> None:
    build_sequence(source, tmp_path / "root", options=MUG)
    fake_stages.calls.clear()
    changed = dataclasses.replace(MUG, **change)  # type: ignore[arg-type]
    build_sequence(source, tmp_path / "root", options=changed)
    assert fake_stages.calls == expected
    build_sequence(source, tmp_path / "fresh", options=changed)
    assert (
        tree(tmp_path / "root")["mug/" + _id(tmp_path) + "/cloud.ply"]
        == (tree(tmp_path / "fresh")["mug/" + _id(tmp_path) + "/cloud.ply"])
    )


def _id(tmp_path: Path) -> str:
    return next((tmp_path / "root" / "mug").iterdir()).name


@pytest.mark.parametrize(
    ("lost", "expected"),
    [
        ("images/003.jpg", ALL),
        ("sparse/0/images.bin", ALL[1:]),
        ("confidence/001.png", ALL[2:]),
        ("masks/001.png", ALL[3:]),
        ("cloud.pcd", ALL[4:]),
        ("report.html", []),
    ],
)
def test_a_lost_file_is_made_again(
    fake_stages: ModuleType, source: Path, tmp_path: Path, lost: str, expected: list[str]
) -> None:
    root = tmp_path / "root"
    record = build_sequence(source, root, options=MUG)
    before = tree(root)
    (sequence_folder(root, record) / lost).unlink()
    fake_stages.calls.clear()
    build_sequence(source, root, options=MUG)
    assert fake_stages.calls == expected
    assert tree(root) == before


@pytest.mark.parametrize(
    ("stage", "scores", "code", "ran"),
    [
        ("capture", {"num_source_frames": 1.0}, "too_few_frames", []),
        ("frames", {"motion_px": 0.0}, "still_video", ALL[:1]),
        ("cameras", {"registered_share": 0.3}, "few_registered", ALL[:2]),
        ("cameras", {"reprojection_error_px": float("nan")}, "imprecise_cameras", ALL[:2]),
        ("depth", {"depth_share": 0.0}, "no_depth", ALL[:3]),
        ("masks", {"object_views_share": 0.0}, "no_object", ALL[:4]),
        ("cloud", {"num_points": 3.0}, "empty_cloud", ALL),
    ],
)
def test_a_missed_rule_stops_the_sequence_there(
    fake_stages: ModuleType,
    source: Path,
    tmp_path: Path,
    stage: str,
    scores: dict[str, float],
    code: str,
    ran: list[str],
) -> None:
    fake_stages.scores[stage] = scores
    root = tmp_path / "root"
    record = build_sequence(source, root, options=MUG)
    assert record.status == "rejected"
    assert code in record.reasons and record.message
    assert fake_stages.calls == ran
    folder = sequence_folder(root, record)
    assert (folder / "report.html").exists()
    assert (folder / "images").exists() == ("frames" in ran)
    before = tree(root)
    assert build_sequence(source, root, options=MUG) == record
    assert fake_stages.calls == ran and tree(root) == before


def test_warnings_are_kept_beside_an_accepted_sequence(
    fake_stages: ModuleType, source: Path, tmp_path: Path
) -> None:
    fake_stages.scores["cameras"] = {"arc_deg": 90.0}
    record = build_sequence(source, tmp_path / "root", options=MUG)
    assert (record.status, record.reasons, record.message) == ("accepted", ("short_arc",), "")


def test_a_stage_that_gives_up(
    fake_stages: ModuleType, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def give_up(*_: object, **__: object) -> None:
        raise SequenceRejected("cameras_failed", f"{source.name}: nothing matches", {"num_models": 0.0})

    monkeypatch.setattr("walkaround.cameras.estimate_cameras", give_up)
    record = build_sequence(source, tmp_path / "root", options=MUG)
    assert (record.status, record.reasons) == ("rejected", ("cameras_failed",))
    assert record.message == "the input: nothing matches"
    assert record.scores["num_models"] == 0.0


def test_a_rejected_sequence_becomes_accepted_after_a_change(
    fake_stages: ModuleType, source: Path, tmp_path: Path
) -> None:
    build_sequence(source, tmp_path / "undisturbed", options=dataclasses.replace(MUG, seed=1))
    fake_stages.scores["cameras"] = {"registered_share": 0.3}
    build_sequence(source, tmp_path / "root", options=MUG)
    fake_stages.scores.clear()
    record = build_sequence(source, tmp_path / "root", options=dataclasses.replace(MUG, seed=1))
    assert record.status == "accepted"
    catalog = read_catalog(tmp_path / "root")
    assert [row["status"] for row in catalog] == ["accepted"]


def test_accepted_then_rejected_leaves_no_later_outputs(
    fake_stages: ModuleType, source: Path, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    build_sequence(source, root, options=MUG)
    fake_stages.scores["cameras"] = {"registered_share": 0.3}
    record = build_sequence(source, root, options=dataclasses.replace(MUG, seed=1))
    folder = sequence_folder(root, record)
    assert record.status == "rejected"
    assert not (folder / "depth").exists() and not (folder / "cloud.ply").exists()


def test_another_label_moves_the_sequence(fake_stages: ModuleType, source: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    build_sequence(source, root, options=MUG)
    fake_stages.calls.clear()
    record = build_sequence(source, root, options=dataclasses.replace(MUG, class_label="cup"))
    assert fake_stages.calls == []
    assert record.class_label == "cup" and not (root / "mug").exists()
    assert [row["class_label"] for row in read_catalog(root)] == ["cup"]
    report = (sequence_folder(root, record) / "report.html").read_text()
    assert ">cup<" in report and ">mug<" not in report


def test_no_name_of_the_collectors_survives(fake_stages: ModuleType, source: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    record = build_sequence(source, root, options=MUG)
    assert record.warnings == ("the input was odd.",)
    for name, content in tree(root).items():
        content = re.sub(rb"base64,[A-Za-z0-9+/=]+", b"", content)  # pictures hold short words by chance
        for word in ("IMG_1234", "Oma", str(tmp_path)):
            assert word.encode() not in content and word not in name


def test_class_table(fake_stages: ModuleType, source: Path, tmp_path: Path) -> None:
    table = tmp_path / "classes.csv"
    table.write_text("id,label\n1,mug\n2,teapot\n")
    options = dataclasses.replace(MUG, classes=table)
    build_sequence(source, tmp_path / "root", options=options)
    assert json.loads((tmp_path / "root" / "dataset.json").read_text())["classes"] == ["mug", "teapot"]
    with pytest.raises(UsageError, match="Did you mean 'teapot'"):
        build_sequence(
            source, tmp_path / "other", options=dataclasses.replace(options, class_label="tea pot")
        )
    assert not (tmp_path / "other").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_read_only_root(fake_stages: ModuleType, source: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir(mode=0o500)
    with pytest.raises(OutputError, match="cannot be written"):
        build_sequence(source, root, options=MUG)
    assert list(root.iterdir()) == []


@pytest.fixture
def lock_up() -> Iterator[Callable[[Path], None]]:
    """Make a folder read-only: by its rights, or as root by a read-only mount."""
    mounted: list[Path] = []

    def read_only(folder: Path) -> None:
        if os.geteuid() != 0:
            for path in (folder, *folder.rglob("*")):
                path.chmod(path.stat().st_mode & ~0o222)
            return
        for flags in (["--bind"], ["-o", "remount,ro,bind"]):
            command = ["mount", *flags, str(folder), str(folder)]
            try:
                made = subprocess.run(command, capture_output=True, check=False).returncode == 0
            except OSError:
                made = False
            if not made:
                pytest.skip("cannot mount a folder read-only here")
            mounted[:] = [folder]

    yield read_only
    for folder in mounted:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_finished_sequence_under_a_read_only_root(
    fake_stages: ModuleType, source: Path, tmp_path: Path, lock_up: Callable[[Path], None]
) -> None:
    """Nothing to do is no error; work to do, another label and --overwrite are."""
    root = tmp_path / "root"
    record = build_sequence(source, root, options=MUG)
    before = tree(root)
    lock_up(root)
    fake_stages.calls.clear()
    assert build_sequence(source, root, options=MUG) == record
    for change in ({"seed": 1}, {"class_label": "cup"}, {"overwrite": True}):
        with pytest.raises(OutputError, match="cannot be written"):
            build_sequence(source, root, options=dataclasses.replace(MUG, **change))  # type: ignore[arg-type]
    assert fake_stages.calls == [] and tree(root) == before


def test_a_stage_that_breaks_continues_later(
    fake_stages: ModuleType, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "root"
    build_sequence(source, tmp_path / "undisturbed", options=MUG)
    with monkeypatch.context() as patch:
        patch.setattr("walkaround.masks.write_masks", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            build_sequence(source, root, options=MUG)
    fake_stages.calls.clear()
    build_sequence(source, root, options=MUG)
    assert fake_stages.calls == ALL[3:]
    assert tree(root) == tree(tmp_path / "undisturbed")


def test_kill_anywhere_then_the_same_command(source: Path, tmp_path: Path) -> None:
    """SIGKILL before every seventh file system change of a build (every one with WALKAROUND_KILL_ALL)."""
    step = "1" if os.environ.get("WALKAROUND_KILL_ALL") else "7"
    run = subprocess.run(
        [sys.executable, "-m", "tests.kill_driver", str(source), str(tmp_path), "3", step],
        capture_output=True, text=True, check=False, cwd=Path(__file__).parents[1],
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    *lines, total = run.stdout.splitlines()
    results = [json.loads(line) for line in lines]
    assert int(total) > 100 and len(results) >= (int(total) - 2) // int(step)
    assert [result for result in results if result[2]] == []
    points = " ".join(what for _, what, _ in results)
    assert all(word in points for word in ("images", "depth", "masks", ".sequence."))


@pytest.mark.slow
def test_a_rendered_capture_with_the_real_stages(tmp_path: Path) -> None:
    """A small walk-around, from the mp4 to the comparison with its truth; a second run does nothing."""
    capture = simulate_capture(
        tmp_path / "capture", options=SimulateOptions(size=(480, 270), num_frames=40, samples=2, seed=3)
    )
    options = BuildOptions(
        class_label="simulated", frames=FramesOptions(num_frames=16), depth=DepthOptions(max_size=480)
    )
    root = tmp_path / "root"
    record = build_sequence(capture.video_path, root, options=options)
    assert record.status == "accepted", (record.message, record.scores)
    assert sum(frame.registered for frame in record.frames) >= 15
    folder = sequence_folder(root, record)
    outputs = [name for stage in record.stages.values() for name in stage.outputs]
    assert all((folder / name).is_file() for name in outputs) and "cloud.ply" in outputs
    evaluation = evaluate_sequence(folder, capture.truth_dir)
    assert format_evaluation(evaluation)
    before = _write_times(root)
    assert build_sequence(capture.video_path, root, options=options) == record
    assert _write_times(root) == before
