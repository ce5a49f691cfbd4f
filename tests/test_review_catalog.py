"""Decisions in the catalogue: every writer keeps them, every reader goes by them, each can be undone."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.test_dataset import RECORD
from walkaround.cli import main
from walkaround.dataset.audit.verify import verify_dataset
from walkaround.dataset.catalog import CatalogWriter, apply_reviews, rebuild_catalog, update_dataset
from walkaround.dataset.exchange.export import select_scenes
from walkaround.dataset.readers import Dataset
from walkaround.dataset.review_writer import ReviewWriter
from walkaround.dataset.reviews import Review, add_review
from walkaround.dataset.rows import read_catalog, status_that_counts
from walkaround.dataset.schema import SequenceRecord, read_record, write_record
from walkaround.dataset.shards import write_shards
from walkaround.dataset.splits import find_leaks, make_splits, write_splits
from walkaround.dataset.splits_options import SplitsOptions
from walkaround.dataset.stats import read_stats
from walkaround.errors import OutputError
from walkaround.pipeline import BuildOptions, build_sequence

BUILT = {"good": "accepted", "poor": "rejected", "cut": "incomplete", "other": "accepted"}


def record(name: str, **changes: Any) -> SequenceRecord:
    source = dataclasses.replace(RECORD.source, sha256=name)
    values = {"class_label": "mug", "instance_id": name, "status": BUILT[name], "source": source, **changes}
    return dataclasses.replace(RECORD, **values)


def store(root: Path, one: SequenceRecord) -> None:
    folder = root / one.class_label / one.instance_id
    folder.mkdir(parents=True, exist_ok=True)
    write_record(folder, one)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A dataset of records alone: two accepted, one rejected, one whose build was cut off."""
    folder = tmp_path / "root"
    for name in BUILT:
        store(folder, record(name))
        update_dataset(folder, record(name))
    return folder


def decide(root: Path, name: str, decision: str, note: str = "", label: str | None = None) -> Review:
    path = root / "reviews.jsonl"
    return add_review(
        path, Review(class_label="mug", instance_id=name, decision=decision, note=note, label=label)
    )


def statuses(root: Path) -> dict[str, str]:
    return {row["instance_id"]: row["status"] for row in read_catalog(root)}


def test_a_decision_is_in_the_catalogue_with_its_time(root: Path) -> None:
    before = (root / "catalog.parquet").read_bytes()
    assert not apply_reviews(root) and (root / "catalog.parquet").read_bytes() == before
    written = decide(root, "good", "reject", note="a hand in it")
    assert apply_reviews(root) and not apply_reviews(root)
    (row,) = read_catalog(root, instance_id="good")
    assert (row["status"], row["built_status"], row["review"]) == ("rejected", "accepted", "reject")
    assert (row["review_note"], row["review_time"]) == ("a hand in it", written.time)
    decide(root, "good", "undo")
    assert apply_reviews(root)
    assert (root / "catalog.parquet").read_bytes() == before, "undone, nothing is left"
    assert not (root / ".work").exists()


def test_the_status_that_counts(root: Path) -> None:
    for name in BUILT:
        decide(root, name, "accept")
    apply_reviews(root)
    counting = dict.fromkeys(BUILT, "accepted") | {"cut": "incomplete"}
    assert statuses(root) == counting
    for name in BUILT:
        decide(root, name, "relabel", label="cup")
    apply_reviews(root)
    assert statuses(root) == dict.fromkeys(BUILT, "rejected") | {"cut": "incomplete"}
    for row in read_catalog(root):  # what Python and SQL say is the same
        assert row["status"] == status_that_counts(row["built_status"], row["review"])
        assert row["review_label"] == "cup"


@pytest.mark.parametrize("how", ["rebuild", "lost", "broken", "resume", "batch", "reconcile", "older"])
def test_no_writer_loses_a_decision(root: Path, how: str, caplog: pytest.LogCaptureFixture) -> None:
    decide(root, "good", "reject", note="x")
    path = root / "catalog.parquet"
    if how != "reconcile":  # there, a process died between the log and the catalogue
        apply_reviews(root)
    match how:
        case "rebuild":
            rebuild_catalog(root)
        case "lost":
            path.unlink()
            update_dataset(root, record("poor"))
        case "broken":
            path.write_bytes(b"broken")
            update_dataset(root, record("poor"))
        case "older":
            import duckdb

            duckdb.sql(f"SELECT * EXCLUDE (review, review_time) FROM '{path}'").write_parquet(str(path) + "2")
            path.with_suffix(".parquet2").rename(path)
            assert apply_reviews(root)
        case "resume":
            again = record("good", scores={"arc_deg": 100.0})
            store(root, again)
            update_dataset(root, again)
        case "batch":
            with CatalogWriter(root) as writer:
                writer.add(record("good", scores={"arc_deg": 120.0})).result()
        case "reconcile":
            with CatalogWriter(root):
                pass
    (row,) = read_catalog(root, instance_id="good")
    assert (row["status"], row["review"], row["review_note"]) == ("rejected", "reject", "x")
    assert len(read_catalog(root)) == len(BUILT)


def test_a_build_that_did_nothing_takes_waiting_decisions_in(root: Path) -> None:
    decide(root, "good", "reject")
    update_dataset(root, record("good"))
    assert statuses(root)["good"] == "rejected"
    before = (root / "catalog.parquet").stat().st_mtime_ns
    update_dataset(root, record("good"))
    assert (root / "catalog.parquet").stat().st_mtime_ns == before


def test_readers_go_by_decisions(root: Path, tmp_path: Path) -> None:
    options = SplitsOptions()

    def divide() -> set[str]:
        write_splits(root, make_splits(root, options=options), options=options)
        assert not find_leaks(root)
        lists = (json.loads((root / "splits" / f"{name}.json").read_text()) for name in options.shares)
        return {name for names in lists for name in names}

    def in_splits() -> set[str]:
        return {key for name in options.shares for key in Dataset(root).split(name).keys()}  # noqa: SIM118

    assert divide() == in_splits() == {"mug/good", "mug/other"}
    decide(root, "good", "reject")
    decide(root, "poor", "accept")
    apply_reviews(root)
    assert set(Dataset(root).keys()) == {"mug/poor", "mug/other"}
    assert in_splits() == {"mug/other"}, "also before it is divided again"
    assert [(leak.kind, leak.names) for leak in find_leaks(root)] == [("rejected", ("mug/good",))]
    assert set(select_scenes(root).scenes.keys()) == {"mug/poor", "mug/other"}  # type: ignore[union-attr]
    assert select_scenes(root / "mug" / "good").is_one, "named itself, it goes out"
    assert divide() == in_splits() == {"mug/poor", "mug/other"}
    stats = read_stats(root)
    assert (stats.counts.accepted, stats.counts.rejected, stats.counts.incomplete) == (2, 1, 1)
    assert (stats.reviews.accepted, stats.reviews.rejected, stats.reviews.relabelled) == (1, 1, 0)
    write_shards(Dataset(root), tmp_path / "shards")
    listed = json.loads((tmp_path / "shards" / "shards.json").read_text())
    assert listed["num_scenes"] == 2 and "reviews.jsonl" in listed["root_files"]


def test_verify_knows_decisions(root: Path) -> None:
    def about_the_catalogue() -> list[str]:
        return [found.text for found in verify_dataset(root) if found.path == "catalog.parquet"]

    decide(root, "good", "reject")
    assert about_the_catalogue() == [
        "mug/good: status, review, review_note, review_time differ from reviews.jsonl"
    ]
    apply_reviews(root)
    assert about_the_catalogue() == []


def test_stats_say_what_was_decided(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    decide(root, "good", "reject")
    apply_reviews(root)
    assert main(["stats", str(root)]) == 0
    assert "1 decided by hand: 0 accepted, 1 rejected, 0 relabelled" in capsys.readouterr().out
    assert main(["query", str(root), "SELECT instance_id FROM catalog WHERE review = 'reject'"]) == 0
    assert "good" in capsys.readouterr().out


def test_a_writer_follows(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    decide(root, "other", "reject")  # by a process that died
    writer = ReviewWriter(root)
    assert statuses(root)["other"] == "rejected"
    for name in ("good", "poor"):
        writer.add(Review(class_label="mug", instance_id=name, decision="relabel", label="cup"))
    writer.close()
    assert {row["review"] for row in read_catalog(root)} == {"relabel", "reject", None}
    assert not caplog.records


@pytest.mark.parametrize("command", ["splits", "report"])
def test_what_is_published_goes_by_the_last_decision(root: Path, command: str) -> None:
    """A viewer may have been killed before it had written the catalogue."""
    decide(root, "good", "reject")
    assert main([command, str(root)]) == 0
    assert statuses(root)["good"] == "rejected"


def test_a_writer_follows_without_an_end_of_decisions(root: Path) -> None:
    """Decisions that come while the catalogue is written are written together, and nothing stays behind."""
    writer = ReviewWriter(root)
    for number in range(30):
        decision = "accept" if number % 2 else "reject"
        writer.add(Review(class_label="mug", instance_id="good", decision=decision, note=str(number)))
    writer.close()
    (row,) = read_catalog(root, instance_id="good")
    assert (row["status"], row["review_note"]) == ("accepted", "29")


def test_a_catalogue_that_cannot_be_written(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The decision stays in the log, and the next writer takes it in."""

    def full(*_: object) -> bool:
        raise OutputError("The disk is full.")

    with monkeypatch.context() as patched:
        patched.setattr("walkaround.dataset.review_writer.apply_reviews", full)
        writer = ReviewWriter(root)
        writer.add(Review(class_label="mug", instance_id="good", decision="reject"))
        writer.close()
    assert "does not have all decisions yet: The disk is full." in caplog.text
    assert statuses(root)["good"] == "accepted"
    ReviewWriter(root).close()
    assert statuses(root)["good"] == "rejected"


def test_a_build_keeps_its_own_verdict(tmp_path: Path, fake_stages: ModuleType) -> None:
    """``sequence.json`` says what the build found; resumed, it does not learn the decision and keeps it."""
    (tmp_path / "a.mp4").write_bytes(b"a")
    options = BuildOptions(class_label="mug", instance_id="aaaa")
    built = build_sequence(tmp_path / "a.mp4", tmp_path / "root", options=options)
    assert built.status == "accepted"
    add_review(
        tmp_path / "root" / "reviews.jsonl",
        Review(class_label="mug", instance_id="aaaa", decision="reject", note="no"),
    )
    assert build_sequence(tmp_path / "a.mp4", tmp_path / "root", options=options).status == "accepted"
    assert read_record(tmp_path / "root" / "mug" / "aaaa").status == "accepted"
    (row,) = read_catalog(tmp_path / "root")
    assert (row["status"], row["built_status"], row["review_note"]) == ("rejected", "accepted", "no")
