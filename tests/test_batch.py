"""Batches with fake stages in this process: what is built, passed over, tried again; journal and progress."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests import fakes
from tests.batches import dataset
from walkaround.cli import main
from walkaround.dataset.catalog import CatalogWriter, read_catalog
from walkaround.dataset.manifest import CaptureEntry, read_captures
from walkaround.dataset.schema import SequenceRecord, SourceRecord
from walkaround.errors import (
    InputError,
    InUse,
    OutOfTime,
    OutputError,
    ProcessDied,
    SequenceRejected,
    UsageError,
)
from walkaround.frames import FramesOptions
from walkaround.pipeline import BatchPart, BuildOptions, build_sequence
from walkaround.runners._loop import BatchLoop
from walkaround.runners.batch import BatchOptions, BatchResult, build_batch
from walkaround.runners.journal import Fingerprints, Journal, Outcome, batch_folder, read_histories
from walkaround.runners.local import LocalRunner
from walkaround.runners.order import largest_first
from walkaround.runners.progress import STALE_S, Tracker, read_snapshot
from walkaround.runners.shares import available_memory_mb, default_workers, share_threads
from walkaround.runners.task import Death, Finished, Job, Task, run_task

MUG = BuildOptions(class_label="mug", threads=1)


@pytest.fixture
def stages(fake_stages: ModuleType, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Fake stages, and builds in this process."""

    def build_isolated(source: str, root: Path, *, options: Any, progress: Any, batch: Any, **_: Any) -> Any:
        report = progress or (lambda stage, share: None)
        return build_sequence(source, root, options=options, progress=report, batch=batch)

    monkeypatch.setattr("walkaround.runners.task.build_isolated", build_isolated)
    return fake_stages


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Three captures of two classes."""
    for name in ("cup/a.mp4", "mug/b.mp4", "mug/c.mp4"):
        path = tmp_path / "captures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"film {name}")
    return tmp_path / "captures"


def run(tree: Path, root: Path, *, build: BuildOptions = MUG, **options: Any) -> BatchResult:
    batch = BatchOptions(**{"workers": 1, **options})
    return build_batch(read_captures(tree), root, options=batch, build=build)


def test_a_batch_and_its_second_run(stages: ModuleType, tree: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    first = run(tree, root)
    assert (first.snapshot.accepted, first.snapshot.skipped, first.failed) == (3, 0, ())
    assert first.snapshot.stages_done["cameras"] == 3
    rows = {row["entry_key"]: row for row in read_catalog(root)}
    assert {row["class_label"] for row in rows.values()} == {"cup", "mug"}
    assert set(rows) == {entry.key for entry in read_captures(tree)}
    assert json.loads((root / "dataset.json").read_text())["classes"] == ["cup", "mug"]
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*") if ".work" not in path.parts}
    lines = (root / ".work/batch/journal.jsonl").read_bytes()
    stages.calls.clear()
    second = run(tree, root)
    assert (second.snapshot.accepted, second.snapshot.skipped) == (3, 3)
    assert stages.calls == [] and (root / ".work/batch/journal.jsonl").read_bytes() == lines
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_what_changes_is_built_again(stages: ModuleType, tree: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    run(tree, root)
    expected = dataset(root)
    (lost,) = list(root.glob("cup/*/masks/001.png"))
    lost.unlink()
    stages.calls.clear()
    assert run(tree, root).snapshot.skipped == 2
    assert stages.calls == ["masks", "cloud"] and dataset(root) == expected
    stages.calls.clear()
    assert run(tree, root, build=dataclasses.replace(MUG, threads=2)).snapshot.skipped == 3
    assert run(tree, root, build=dataclasses.replace(MUG, seed=1)).snapshot.skipped == 0
    assert stages.calls == ["cameras", "depth", "masks", "cloud"] * 3


def test_a_lost_catalogue_comes_back_with_its_entries(stages: ModuleType, tree: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    run(tree, root)
    expected = dataset(root)
    (root / "catalog.parquet").unlink()
    stages.calls.clear()
    run(tree, root)
    assert stages.calls == [] and dataset(root) == expected


def test_another_label_in_the_manifest_moves_the_sequence(
    stages: ModuleType, tree: Path, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    run(tree, root)
    (tree / "bowl").mkdir()
    (tree / "cup/a.mp4").rename(tree / "bowl/a.mp4")
    (tree / "cup").rmdir()
    stages.calls.clear()
    result = run(tree, root)
    assert (result.snapshot.accepted, result.snapshot.rejected) == (3, 0)
    assert stages.calls == [] and not (root / "cup").exists()
    assert sorted(row["class_label"] for row in read_catalog(root)) == ["bowl", "mug", "mug"]


@pytest.mark.parametrize("label", ["cup", "mug"])
def test_the_same_capture_twice(stages: ModuleType, tree: Path, tmp_path: Path, label: str) -> None:
    """It is one sequence, in the class where it was first; the second is told, now and in every rerun."""
    (tree / label / "twice.mp4").write_bytes((tree / "cup/a.mp4").read_bytes())
    root = tmp_path / "root"
    for _ in range(2):
        result = run(tree, root)
        assert (result.snapshot.accepted, result.snapshot.rejected) == (3, 1)
        assert result.snapshot.reasons == {"duplicate_source": 1}
        assert sorted(row["class_label"] for row in read_catalog(root)) == ["cup", "mug", "mug"]


def test_consent_licence_and_ids_of_a_manifest(stages: ModuleType, tree: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "captures" / "manifest.csv"
    manifest.write_text(
        "path,class_label,instance_id,licence,consent\n"
        "cup/a.mp4,cup,cup-1,CC-BY-4.0,yes\nmug/b.mp4,mug,,,no\nmug/c.mp4,mug,,,\n"
    )
    (tree / "mug/b.mp4").unlink()  # a refused capture is not even looked for
    root = tmp_path / "root"
    for skipped in (0, 3):
        result = build_batch(read_captures(manifest), root, build=MUG)
        assert (result.snapshot.accepted, result.snapshot.reasons) == (2, {"no_consent": 1})
        assert result.snapshot.skipped == skipped
    record = json.loads((root / "cup/cup-1/sequence.json").read_text())
    assert (record["instance_id"], record["licence"], record["consent"]) == ("cup-1", "CC-BY-4.0", True)


def test_a_sequence_in_parts(stages: ModuleType, source: Path, tmp_path: Path) -> None:
    """Before a stage, the stage, the rest: the same files as at once; a rejection ends it early."""
    root = tmp_path / "root"
    parts = [BatchPart(until=until) for until in ("cameras", "depth", None)]
    found = [build_sequence(source, root, options=MUG, batch=part).status for part in parts]
    assert found == ["incomplete", "incomplete", "accepted"]
    assert stages.calls == ["frames", "cameras", "depth", "masks", "cloud"]
    assert not (root / "catalog.parquet").exists()
    build_sequence(source, tmp_path / "whole", options=MUG)
    whole = dataset(tmp_path / "whole")
    del whole["catalog.parquet"], whole["dataset.json"]
    assert dataset(root) == whole
    stages.scores["frames"] = {"motion_px": 0.0}
    assert build_sequence(source, tmp_path / "no", options=MUG, batch=parts[0]).status == "rejected"


def test_rejected_captures_count_and_stay(stages: ModuleType, tree: Path, tmp_path: Path) -> None:
    stages.scores["cameras"] = {"registered_share": 0.3}
    result = run(tree, tmp_path / "root")
    assert (result.snapshot.rejected, result.snapshot.reasons) == (3, {"few_registered": 3})
    stages.calls.clear()
    assert run(tree, tmp_path / "root").snapshot.skipped == 3 and stages.calls == []


def test_only_one_batch_a_root(stages: ModuleType, tree: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"

    def second(_: Outcome) -> None:
        with pytest.raises(InUse, match="Another batch runs"):
            run(tree, root)

    build_batch(read_captures(tree), root, options=BatchOptions(workers=1), build=MUG, report=second)


class Script:
    """A runner that gives back what the test says, one task at a time."""

    workers = 1

    def __init__(self, *says: Callable[[Task], Finished]) -> None:
        self.tasks: list[Task] = []
        self._says = deque(says)
        self._held: list[Task] = []

    @property
    def room(self) -> int:
        return 1 - len(self._held)

    @property
    def num_tasks(self) -> int:
        return len(self._held)

    def threads(self, waiting: int) -> int:
        return waiting

    def submit(self, task: Task) -> None:
        self.tasks.append(task)
        self._held.append(task)

    def wait(self, timeout_s: float) -> list[Finished]:
        return [self._says.popleft()(self._held.pop())]


def record_of(task: Task, status: str = "accepted") -> SequenceRecord:
    return SequenceRecord(
        class_label="mug",
        instance_id=task.entry.source,
        status=status,
        source=SourceRecord(kind="video", sha256="0" * 64),
    )


def accepted(task: Task) -> Finished:
    return Finished(task=task, record=record_of(task))


def partly(task: Task) -> Finished:
    return Finished(task=task, record=record_of(task, "incomplete"))


def dead(task: Task) -> Finished:
    return Finished(task=task, death=Death(what="SIGSEGV", stage="depth", log="the log"))


def busy(task: Task) -> Finished:
    return Finished(task=task, busy=True)


def full(task: Task) -> Finished:
    return Finished(task=task, stop=OutputError("The disk is full"))


def play(
    root: Path, names: Sequence[str], *says: Callable[[Task], Finished], **options: Any
) -> tuple[Script, Tracker]:
    """Run the loop over entries with a scripted runner."""
    entries = [CaptureEntry(source=name, class_label="mug") for name in names]
    tracker = Tracker(batch_folder(root), total=len(entries), runner="script")
    script = Script(*says)
    with Journal(batch_folder(root)) as journal:
        with CatalogWriter(root) as catalog:
            loop = BatchLoop(
                entries, root, BatchOptions(**options), BuildOptions(), journal, catalog, tracker, None
            )
            loop.run(script)
        loop.finish()
    return script, tracker


def test_a_death_is_tried_again_then_set_aside(tmp_path: Path) -> None:
    script, tracker = play(tmp_path, "ab", dead, dead, accepted)
    assert [(task.entry.source, task.attempt) for task in script.tasks] == [("a", 1), ("a", 2), ("b", 1)]
    snapshot = tracker.snapshot()
    assert (snapshot.accepted, snapshot.failed, snapshot.retried) == (1, 1, 1)
    key = script.tasks[0].key
    log = (batch_folder(tmp_path) / "failed" / f"{key}.log").read_text()
    assert log == "== attempt 1\nthe log\n== attempt 2\nthe log\n"
    script, tracker = play(tmp_path, "ab", accepted)
    assert [task.entry.source for task in script.tasks] == ["b"] and tracker.snapshot().failed == 1
    script, tracker = play(tmp_path, "a", accepted, retry_failed=True)
    assert [task.attempt for task in script.tasks] == [1] and tracker.snapshot().accepted == 1
    assert not (batch_folder(tmp_path) / "failed" / f"{key}.log").exists()


def test_deaths_count_over_runs(tmp_path: Path) -> None:
    with pytest.raises(OutputError):
        play(tmp_path, "a", dead, full)
    script, tracker = play(tmp_path, "a", dead)
    assert [task.attempt for task in script.tasks] == [2] and tracker.snapshot().failed == 1


@pytest.mark.parametrize("retries", [0, 3])
def test_the_number_of_retries(tmp_path: Path, retries: int) -> None:
    script, _ = play(tmp_path, "a", *[dead] * (retries + 1), retries=retries)
    assert len(script.tasks) == retries + 1


def test_parts_of_a_sequence_follow_each_other(tmp_path: Path) -> None:
    script, tracker = play(tmp_path, "ab", partly, partly, accepted, accepted)
    assert [(task.entry.source, task.part) for task in script.tasks] == [
        ("a", 0), ("a", 1), ("a", 2), ("b", 0),
    ]  # fmt: skip
    assert tracker.snapshot().accepted == 2


def test_a_sequence_in_use_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("walkaround.runners._loop._BUSY_S", 0.0)
    monkeypatch.setattr("walkaround.runners._loop._WAIT_S", 0.0)
    script, tracker = play(tmp_path, "a", busy, busy, accepted)
    assert [task.waited for task in script.tasks] == [0, 1, 2] and tracker.snapshot().accepted == 1
    monkeypatch.setattr("walkaround.runners._loop._MAX_WAITS", 1)
    _, tracker = play(tmp_path, "b", busy, busy, retries=0)
    assert tracker.snapshot().failed == 1


def test_a_full_disk_stops_at_once(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="full"):
        play(tmp_path, "abc", accepted, full)


@pytest.mark.parametrize(
    ("error", "field", "said"),
    [
        (InputError("/home/anna/a.mp4 cannot be decoded"), "rejection", "the input cannot be decoded"),
        (SequenceRejected("no_consent", "No."), "rejection", "No."),
        (InUse("busy"), "busy", ""),
        (OutputError("full"), "stop", ""),
        (UsageError("wrong"), "stop", ""),
        (ProcessDied("It died", signal_number=11, native_output="reading /home/anna/a.mp4"), "death", ""),
        (OutOfTime("late", stage="depth"), "death", ""),
        (ZeroDivisionError("in /home/anna/a.mp4"), "death", ""),
    ],
    ids=repr,
)
def test_every_error_becomes_a_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, field: str, said: str
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr("walkaround.runners.task.build_isolated", fail)
    task = Task(entry=CaptureEntry(source="/home/anna/a.mp4", class_label="mug"))
    finished = run_task(Job(root=tmp_path, build=MUG), task)
    given = [name for name in ("record", "rejection", "death", "busy", "stop") if getattr(finished, name)]
    assert given == [field] and said in str(getattr(finished, field))
    assert "anna" not in f"{finished.rejection}{finished.death}"


def test_an_address_is_wiped_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = "https://anna:pw@host.example/anna/holiday.mp4?key=secret"

    def fail(*_: Any, **__: Any) -> None:
        raise InputError(
            f"{url}, or https://host.example/anna/holiday.mp4: 404; /anna/holiday.mp4 holiday.mp4"
        )

    monkeypatch.setattr("walkaround.runners.task.build_isolated", fail)
    task = Task(entry=CaptureEntry(source=url, class_label="mug"))
    finished = run_task(Job(root=tmp_path, build=MUG), task)
    assert finished.rejection == (
        "unreadable_input", "the input, or the input: 404; the input the input",
    )  # fmt: skip


def test_the_entry_speaks_for_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}
    monkeypatch.setattr("walkaround.runners.task.build_isolated", lambda *_, **values: seen.update(values))
    entry = CaptureEntry(source="x", class_label="cup", instance_id="i", licence="CC0", consent=True)
    job = Job(root=tmp_path, build=MUG, time_limit_s=9.0, stage_time_limit_s=4.0, memory_limit_mb=700.0)
    run_task(job, Task(entry=entry, threads=3))
    assert seen["options"] == dataclasses.replace(
        MUG, class_label="cup", instance_id="i", licence="CC0", consent=True, threads=3
    )
    assert (seen["timeout_s"], seen["stage_timeout_s"], seen["memory_limit_mb"]) == (9.0, 4.0, 700.0)


def test_a_journal_that_was_cut_off(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.ended(Outcome(key="a", class_label="mug", outcome="accepted", fingerprint="1"))
        journal.died("b", "1", what="SIGSEGV", stage="depth", now=0.0)
    path = tmp_path / "journal.jsonl"
    whole = path.read_bytes()
    path.write_bytes(b'{"event": 3}\nno json\n[]\n' + whole + b'{"event": "ended", "key": "c", "out')
    with Journal(tmp_path) as journal:
        assert journal.histories["a"].outcome is not None and journal.histories["b"].deaths == 1
        assert "c" not in journal.histories
        journal.died("b", "1", what="SIGSEGV", stage="depth", now=0.0)
    assert read_histories(tmp_path)["b"].deaths == 2
    assert path.read_bytes().startswith(b'{"event": 3}\nno json\n[]\n' + whole + b"{")


def test_other_options_forget_deaths(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        for fingerprint in ("1", "1", "2"):
            journal.died("a", fingerprint, what="SIGSEGV", stage="", now=0.0)
        assert journal.histories["a"].deaths == 1
        journal.forgave("a", 0.0)
        assert journal.histories["a"].deaths == 0


def test_fingerprints(tmp_path: Path) -> None:
    film = tmp_path / "a.mp4"
    film.write_bytes(b"film")
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "1.jpg").write_bytes(b"photo")
    entry = CaptureEntry(source=str(film), class_label="mug")
    folder = CaptureEntry(source=str(photos), class_label="mug")
    url = CaptureEntry(source="s3://bucket/a.mp4", class_label="mug")
    before = [Fingerprints(MUG)(item) for item in (entry, folder, url)]
    assert before == [
        Fingerprints(dataclasses.replace(MUG, threads=7, class_label="x"))(item)
        for item in (entry, folder, url)
    ]
    other = Fingerprints(dataclasses.replace(MUG, frames=FramesOptions(num_frames=12)))
    assert not {other(item) for item in (entry, folder, url)} & set(before)
    assert Fingerprints(MUG)(dataclasses.replace(entry, licence="CC0")) != before[0]
    os.utime(film, ns=(0, 0))
    (photos / "2.jpg").write_bytes(b"photo")
    assert Fingerprints(MUG)(entry) != before[0] and Fingerprints(MUG)(folder) != before[1]
    film.unlink()
    assert Fingerprints(MUG)(entry) not in before


@pytest.mark.parametrize(
    ("cores", "in_use", "free_slots", "waiting", "threads"),
    [
        (8, 0, 8, 100, 1),
        (8, 0, 2, 100, 4),
        (8, 4, 1, 100, 4),
        (8, 0, 8, 3, 2),
        (8, 2, 7, 2, 3),
        (8, 5, 6, 1, 3),
        (2, 2, 1, 9, 1),
        (2, 1, 1, 1, 1),
        (2, 0, 2, 1, 2),
        (1, 3, 1, 1, 1),
    ],
)
def test_sharing_threads_out(cores: int, in_use: int, free_slots: int, waiting: int, threads: int) -> None:
    assert share_threads(cores, in_use=in_use, free_slots=free_slots, waiting=waiting) == threads


def test_default_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("walkaround.runners.shares.usable_cores", lambda: 16)
    for memory_mb, workers in ((100_000.0, 16), (6_000.0, 4), (100.0, 1), (None, 16)):
        monkeypatch.setattr("walkaround.runners.shares.available_memory_mb", lambda value=memory_mb: value)
        assert default_workers() == workers


def test_memory_is_told() -> None:
    memory_mb = available_memory_mb()
    assert memory_mb is None or memory_mb > 10


def test_a_local_runner_gives_threads_and_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("walkaround.runners.local.usable_cores", lambda: 8)
    job = Job(root=tmp_path, build=BuildOptions())

    def wait_for_cancel(job: Job, task: Task, *, progress: Any, cancel: Any) -> Finished:
        cancel.wait(60)
        return Finished(task=task)

    with LocalRunner(job, workers=2, progress=lambda *_: None, run=wait_for_cancel) as runner:
        given = []
        for waiting in (3, 2):
            threads = runner.threads(waiting)
            runner.submit(Task(entry=CaptureEntry(source="a", class_label="b"), threads=threads))
            given.append(threads)
        assert given == [4, 4] and runner.room == 0 and runner.num_tasks == 2
        assert runner.wait(0.0) == []
    assert (
        LocalRunner(
            Job(root=tmp_path, build=BuildOptions(threads=3)), workers=2, progress=lambda *_: None
        ).threads(9)
        == 3
    )


def test_a_tracker_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("walkaround.runners.progress.time.time", lambda: now[0])
    shown = []
    with Tracker(tmp_path, total=4, runner="local", show=shown.append) as tracker:
        tracker.begin("a", "mug")
        tracker.stage("a", "depth", 0.5)
        tracker.stage("z", "depth", 0.5)
        now[0] += 60
        tracker.begin("b", "mug")
        tracker.leave("b")
        outcome = Outcome(key="b", class_label="mug", outcome="rejected", reasons=("no_depth",))
        tracker.end(outcome, record_of(Task(entry=CaptureEntry(source="b", class_label="mug"))))
        tracker.tick()
        tracker.tick()
    running, finished = shown
    assert running == read_snapshot(tmp_path) or finished == read_snapshot(tmp_path)
    assert (running.state, finished.state) == ("running", "finished")
    assert running.stages_running == {"depth": 1} and running.stages_done["cameras"] == 1
    assert running.rate_per_hour == pytest.approx(60) and running.eta_s == pytest.approx(180)
    assert running.running[0].stage == "depth" and running.reasons == {"no_depth": 1}
    assert running.is_live(now[0]) and not running.is_live(now[0] + STALE_S)
    assert not finished.is_live(now[0])


@pytest.mark.parametrize(
    "arguments",
    [
        ("--workers", "-1"),
        ("--retries", "-1"),
        ("--memory-limit-mb", "nan"),
        ("--gpu-share", "0"),
        ("--ray-address", "auto"),
        ("--instance-id", "x"),
        ("--licence", "CC0"),
        ("--threads", "-1"),
    ],
)
def test_wrong_options(
    tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, str]
) -> None:
    assert main(["build", str(tree), "--out", str(tmp_path / "root"), *arguments]) == 2
    assert arguments[0] in capsys.readouterr().err
    assert not (tmp_path / "root").exists()


def test_one_capture_needs_no_ray(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["build", str(source), "--out", str(tmp_path / "root"), "--runner", "ray"]) == 2
    assert "is one capture" in capsys.readouterr().err


def test_the_command_and_its_status(
    stages: ModuleType, tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "root"
    command = ["build", str(tree), "--out", str(root), "--workers", "1", "--json"]
    stages.scores["depth"] = {"depth_share": 0.0}
    assert main(command) == 3
    out, err = capsys.readouterr()
    *lines, total = [json.loads(line) for line in out.splitlines()]
    assert [line["outcome"] for line in lines] == ["rejected"] * 3 and total["total"]["rejected"] == 3
    assert "3 of 3 captures: 0 accepted, 3 rejected (3 no_depth), 0 failed" in err
    assert main(["status", str(root)]) == 0
    assert "finished" in (said := capsys.readouterr().out) and "3 rejected (3 no_depth)" in said
    assert main(["status", str(root), "--json"]) == 0
    status = json.loads(capsys.readouterr().out)
    assert (status["state"], status["live"], status["done"]) == ("finished", False, 3)


def test_status_lists_what_has_no_sequence(
    stages: ModuleType,
    tree: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unreadable(source: Path, **_: Any) -> None:
        raise InputError(f"{source} is not a video.")

    monkeypatch.setattr("walkaround.capture.inspect_capture", unreadable)
    root = str(tmp_path / "root")
    assert main(["build", str(tree), "--out", root, "--workers", "1"]) == 3
    said = capsys.readouterr().err
    assert f"{root} holds no sequences yet." in said and "catalogue:" not in said
    for command in ("report", "stats", "query", "splits", *(["view"] if find_spec("viser") else [])):
        assert main([command, root]) == 2
        said = capsys.readouterr().err
        assert f"{root} holds no sequences" in said and f"walkaround status {root} --captures" in said
    assert main(["export", root, "--to", "nerfstudio", "--out", str(tmp_path / "out")]) == 2
    assert f"{root} holds no sequences" in capsys.readouterr().err
    assert main(["status", root]) == 0
    assert "3 rejected without a sequence; --captures" in capsys.readouterr().out
    assert main(["status", root, "--captures", str(tree)]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("rejected: ")]
    assert len(lines) == 3 and all("unreadable_input: the input is not a video" in line for line in lines)
    assert str(tree) in lines[0]
    assert main(["status", root, "--captures", str(tree), "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["without_sequence"]
    assert [item["reasons"] for item in listed] == [["unreadable_input"]] * 3


@pytest.mark.parametrize("made", [False, True])
def test_status_without_a_batch(tmp_path: Path, capsys: pytest.CaptureFixture[str], made: bool) -> None:
    root = tmp_path / "root"
    if made:
        root.mkdir()
    assert main(["status", str(root)]) == 2
    assert ("holds no batch" if made else "does not exist") in capsys.readouterr().err


def test_status_of_a_running_and_of_a_killed_batch(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = Tracker(batch_folder(tmp_path), total=5, runner="local")
    tracker.begin("0123456789ab", "a [bold] class")
    tracker.stage("0123456789ab", "cameras", 0.25)
    batch_folder(tmp_path).mkdir(parents=True)
    tracker.end(Outcome(key="k", class_label="mug", outcome="failed", message="SIGSEGV"), None)
    tracker.tick()
    with Journal(batch_folder(tmp_path)) as journal:
        journal.ended(Outcome(key="k", class_label="mug", outcome="failed", message="SIGSEGV"))
    assert main(["status", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "running for" in out and "a [bold] class" in out and "25%" in out
    assert "failed: k mug: SIGSEGV; log: " in out
    snapshot = read_snapshot(batch_folder(tmp_path))
    assert snapshot is not None
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    assert snapshot.is_live(time.time())
    assert not dataclasses.replace(snapshot, pid=dead.pid).is_live(time.time())
    assert dataclasses.replace(snapshot, pid=dead.pid, host="another").is_live(time.time())
    later = time.time() + 100
    monkeypatch.setattr("walkaround.commands.status.time.time", lambda: later)
    assert main(["status", str(tmp_path), "--watch"]) == 0
    assert "cut off" in capsys.readouterr().out


def test_fakes_are_in_use(stages: ModuleType) -> None:
    assert stages is fakes


def test_large_captures_come_first(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    sizes = {"small.mp4": 10, "photos/1.jpg": 40, "photos/2.jpg": 40, "large.mp4": 100, "other.mp4": 10}
    for name, size in sizes.items():
        (tmp_path / name).write_bytes(bytes(size))
    sources = ["https://host/a.mp4", *(str(tmp_path / name) for name in ("small.mp4", "absent.mp4"))]
    sources += [str(tmp_path / name) for name in ("other.mp4", "photos", "large.mp4")]
    entries = [CaptureEntry(source=source, class_label="mug") for source in sources]
    names = [Path(entry.source).name for entry in largest_first(entries)]
    assert names == ["large.mp4", "photos", "small.mp4", "other.mp4", "a.mp4", "absent.mp4"]
