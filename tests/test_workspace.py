"""The workspace alone: labels, keys, commits, locks, a full disk."""

from __future__ import annotations

import dataclasses
import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from walkaround.dataset.schema import SequenceRecord, SourceRecord, read_record
from walkaround.errors import OutputError, SequenceRejected, UsageError
from walkaround.workspace import (
    Stage,
    StageResult,
    Workspace,
    check_class_label,
    open_workspace,
    options_to_dict,
    stage_key,
)

STAGES = (
    Stage(name="one", version=1, owns=("images",)),
    Stage(name="two", version=1, owns=("depth", "cloud.ply")),
)
FRESH = SequenceRecord(
    class_label="mug", instance_id="0123456789ab", source=SourceRecord(kind="video", sha256="0" * 64)
)


def write_one(scratch: Path) -> StageResult:
    (scratch / "images").mkdir()
    (scratch / "images" / "a.txt").write_bytes(b"one")
    (scratch / "junk.bin").write_bytes(b"scratch")
    return StageResult(scores={"s": 1.0, "bad": float("nan")}, notes={"n": np.float64(2)})


@pytest.mark.parametrize("label", ["mug", "two words", "Tasse Müller", "マグカップ", "007", "a.b", "-x"])
def test_labels_that_work(label: str) -> None:
    assert check_class_label(label) == label


@pytest.mark.parametrize(
    "label",
    [
        "",
        " ",
        ".",
        "..",
        "../x",
        "a/b",
        "a\\b",
        "/etc",
        "a\0b",
        "a\nb",
        ".work",
        "x" * 201,
        "é" * 150,
        "\u2028",
    ],
)
def test_labels_that_are_refused(label: str) -> None:
    with pytest.raises(UsageError, match="Use a plain name"):
        check_class_label(label)


@pytest.mark.parametrize("label", ["splits", "catalog.parquet", "Dataset.JSON", "\udc80"])
def test_more_labels_that_are_refused(label: str) -> None:
    with pytest.raises(UsageError, match="Use a plain name"):
        check_class_label(label)


def test_equal_looking_labels_are_one_folder() -> None:
    assert check_class_label("Mu\u0308ller ") == check_class_label("M\u00fcller")


def test_key_depends_on_what_the_stage_depends_on(tmp_path: Path) -> None:
    seeded = dataclasses.replace(STAGES[0], uses_seed=True)
    base = stage_key(STAGES[0], options={"a": 1}, upstream="u", seed=0)
    assert base == stage_key(STAGES[0], options={"a": 1}, upstream="u", seed=1)
    keys = {
        base,
        stage_key(STAGES[0], options={"a": 2}, upstream="u", seed=0),
        stage_key(STAGES[0], options={"a": 1}, upstream="v", seed=0),
        stage_key(STAGES[1], options={"a": 1}, upstream="u", seed=0),
        stage_key(dataclasses.replace(STAGES[0], version=2), options={"a": 1}, upstream="u", seed=0),
        stage_key(seeded, options={"a": 1}, upstream="u", seed=0),
        stage_key(seeded, options={"a": 1}, upstream="u", seed=1),
    }
    assert len(keys) == 7


def test_a_path_among_the_options_is_kept_as_a_hash(tmp_path: Path) -> None:
    model = tmp_path / "private name.onnx"
    model.write_bytes(b"abc")
    kept = options_to_dict({"model": model, "other": tmp_path / "missing"})
    assert kept["model"].startswith("sha256:ba7816bf")
    assert options_to_dict({"model": str(model)})["model"] == kept["model"]
    assert "private" not in str(kept) and str(tmp_path) not in str(kept)


def test_a_stage_is_committed_and_found_again(tmp_path: Path) -> None:
    with open_workspace(tmp_path, FRESH, STAGES) as workspace:
        workspace.run_stage("one", "k", write_one)
        assert workspace.is_done("one", "k")
        assert not workspace.is_done("one", "other")
    folder = tmp_path / "mug" / "0123456789ab"
    assert sorted(path.name for path in folder.iterdir()) == ["images", "sequence.json"]
    assert not (tmp_path / ".work").exists()
    record = read_record(folder)
    assert record.scores == {"s": 1.0, "bad": None}
    assert record.stages["one"].outputs == {"images/a.txt": 3}
    with open_workspace(tmp_path, FRESH, STAGES) as again:
        assert again.record == record
        assert again.is_done("one", "k")
        (folder / "images" / "a.txt").write_bytes(b"cut")
        assert again.is_done("one", "k")
        (folder / "images" / "a.txt").write_bytes(b"shorter?")
        assert not again.is_done("one", "k")
        (folder / "images" / "a.txt").unlink()
        assert not again.is_done("one", "k")


def test_a_stage_that_runs_again_takes_later_ones_with_it(tmp_path: Path) -> None:
    def write_two(scratch: Path) -> StageResult:
        (scratch / "cloud.ply").write_bytes(b"ply")
        return StageResult()

    with open_workspace(tmp_path, FRESH, STAGES) as workspace:
        workspace.run_stage("one", "k", write_one)
        workspace.run_stage("two", "l", write_two)
        workspace.update(status="accepted")
        workspace.run_stage("one", "k2", write_one)
        assert list(workspace.record.stages) == ["one"]
        assert workspace.record.status == "incomplete"
        assert not (workspace.folder / "cloud.ply").exists()


def test_a_failing_stage_leaves_the_old_outputs(tmp_path: Path) -> None:
    def fail(scratch: Path) -> StageResult:
        write_one(scratch)
        raise ZeroDivisionError

    with open_workspace(tmp_path, FRESH, STAGES) as workspace:
        workspace.run_stage("one", "k", write_one)
    with pytest.raises(ZeroDivisionError), open_workspace(tmp_path, FRESH, STAGES) as workspace:
        workspace.run_stage("one", "k2", fail)
    with open_workspace(tmp_path, FRESH, STAGES) as workspace:
        assert workspace.is_done("one", "k")
        assert not workspace.scratch_root.exists()


def test_a_rejection_is_recorded_with_its_scores(tmp_path: Path) -> None:
    def reject(scratch: Path) -> StageResult:
        raise SequenceRejected("cameras_failed", "nothing matched", {"registered_share": 0.0})

    with open_workspace(tmp_path, FRESH, STAGES) as workspace:
        record = workspace.run_stage("one", "k", reject)
        assert (record.reason, record.message) == ("cameras_failed", "nothing matched")
        assert workspace.record.scores == {"registered_share": 0.0}
        assert workspace.is_done("one", "k")


def test_overwrite_forgets_but_leaves_foreign_files(tmp_path: Path) -> None:
    with open_workspace(tmp_path, FRESH, STAGES) as workspace:
        workspace.run_stage("one", "k", write_one)
        (workspace.folder / "my notes.txt").write_text("keep")
    with open_workspace(tmp_path, FRESH, STAGES, overwrite=True) as workspace:
        assert not workspace.record.stages
        assert [path.name for path in workspace.folder.iterdir()] == ["my notes.txt"]


def test_a_new_label_moves_the_sequence(tmp_path: Path) -> None:
    with open_workspace(tmp_path, FRESH, STAGES) as workspace:
        workspace.run_stage("one", "k", write_one)
    cup = dataclasses.replace(FRESH, class_label="cup")
    with open_workspace(tmp_path, cup, STAGES) as workspace:
        assert workspace.is_done("one", "k")
    assert not (tmp_path / "mug").exists()
    assert read_record(tmp_path / "cup" / "0123456789ab").class_label == "cup"


def test_two_builds_of_one_sequence_are_refused(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from tests.test_workspace import *\n"
        "with open_workspace(Path(sys.argv[1]), FRESH, STAGES): print('in', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        cwd=Path(__file__).parents[1],
    )  # fmt: skip
    with process:
        assert process.stdout is not None and process.stdin is not None
        assert process.stdout.readline() == "in\n"
        with (
            pytest.raises(OutputError, match="Another walkaround is building"),
            open_workspace(tmp_path, FRESH, STAGES),
        ):
            pytest.fail("the lock did not hold")
        other = dataclasses.replace(FRESH, instance_id="ba9876543210")
        with open_workspace(tmp_path, other, STAGES):
            pass
        process.kill()
    with open_workspace(tmp_path, FRESH, STAGES):
        pass  # a killed process gives its lock back


def test_a_broken_record_is_built_again(tmp_path: Path) -> None:
    with open_workspace(tmp_path, FRESH, STAGES) as workspace:
        workspace.run_stage("one", "k", write_one)
        (workspace.folder / "sequence.json").write_text("{")
    with open_workspace(tmp_path, FRESH, STAGES) as workspace:
        assert not workspace.record.stages


def test_nothing_built_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), open_workspace(tmp_path / "root", FRESH, STAGES):
        raise KeyboardInterrupt
    assert list((tmp_path / "root").iterdir()) == []


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.bin"])
def test_a_file_cut_off_by_a_full_disk_is_not_committed(tmp_path: Path, name: str) -> None:
    """Image writers of OpenCV may return True although the last block never reached the disk."""

    def cut(scratch: Path) -> StageResult:
        (scratch / "images").mkdir()
        data = b"" if name == "a.bin" else bytes(cv2.imencode(name[1:], np.zeros((9, 9, 3), np.uint8))[1])
        (scratch / "images" / name).write_bytes(data[: len(data) // 2])
        return StageResult()

    with open_workspace(tmp_path, FRESH, STAGES) as workspace, pytest.raises(OutputError, match="cut off"):
        workspace.run_stage("one", "k", cut)
    assert not (tmp_path / "mug").exists()


def _full(*_: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    "error", [RuntimeError("database: disk I/O error"), SequenceRejected("no_depth", "")]
)
def test_a_librarys_words_for_a_full_disk_become_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(scratch: Path) -> StageResult:
        monkeypatch.setattr(os, "fsync", _full)
        raise error

    with (
        open_workspace(tmp_path, FRESH, STAGES) as workspace,
        pytest.raises(OutputError, match="disk is full"),
    ):
        workspace.run_stage("one", "k", fail)


@pytest.fixture
def small_disk(tmp_path: Path) -> Any:
    """A file system of 256 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    try:
        made = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except OSError:
        made = False
    if not made:
        pytest.skip("cannot mount a small file system here (needs root)")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_really_full_disk(small_disk: Path) -> None:
    def fill(scratch: Path) -> StageResult:
        (scratch / "images").mkdir()
        image = np.random.default_rng(0).integers(0, 255, (300, 300, 3)).astype(np.uint8)
        for number in range(9):
            if not cv2.imwrite(str(scratch / "images" / f"{number}.png"), image):
                raise RuntimeError("imwrite returned False")
        return StageResult()

    with (
        pytest.raises(OutputError, match="disk"),
        open_workspace(small_disk, FRESH, STAGES) as workspace,
    ):
        workspace.run_stage("one", "k", fill)
    assert list(small_disk.rglob("*.png")) == []
    with open_workspace(small_disk, FRESH, STAGES) as workspace:
        workspace.run_stage("one", "k", write_one)
        assert workspace.is_done("one", "k")


def test_a_stage_asks_for_room_first(tmp_path: Path) -> None:
    greedy = (dataclasses.replace(STAGES[0], room_mb=10**9),)
    with open_workspace(tmp_path, FRESH, greedy) as workspace, pytest.raises(OutputError, match="needs 10"):
        workspace.run_stage("one", "k", write_one)


def test_a_read_only_disk(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(OutputError, match="cannot be written"), open_workspace(small_disk, FRESH, STAGES):
        pass


def test_root_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "root").write_text("")
    with pytest.raises(OutputError, match="root"), open_workspace(tmp_path / "root", FRESH, STAGES):
        pass


def test_workspace_names_its_folder(tmp_path: Path) -> None:
    assert Workspace(tmp_path, FRESH, STAGES).folder == tmp_path / "mug" / "0123456789ab"
