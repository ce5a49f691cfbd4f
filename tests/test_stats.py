"""walkaround stats: numbers against plain Python, text, page."""

from __future__ import annotations

import dataclasses
import json
import random
import statistics
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from tests.test_dataset import RECORD
from walkaround.cli import main
from walkaround.dataset.classes import ClassTable
from walkaround.dataset.rows import catalog_row, write_catalog
from walkaround.dataset.schema import SequenceRecord, StageRecord
from walkaround.dataset.stats import NUM_BINS, STAGE_ORDER, read_stats
from walkaround.pipeline import STAGES

LABELS = ("mug", "toy <cat> & dog", "bowl")


def _record(number: int) -> SequenceRecord:
    rng = random.Random(number)
    status = rng.choice(["accepted", "accepted", "rejected", "incomplete"])
    stages = {
        name: StageRecord(
            key="k", seconds=float(number), cpu_seconds=2.0 * number, outputs={"a": 10, "b": number}
        )
        for name in ("capture", "depth")
    }
    return dataclasses.replace(
        RECORD,
        class_label=rng.choice(LABELS),
        instance_id=f"id{number}",
        status=status,
        reasons=("short_arc", "strange") if number % 3 == 0 else (),
        scores={"arc_deg": rng.random(), "lost": None, "constant": 4.0},
        stages=stages,
    )


RECORDS = [_record(number) for number in range(60)]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_catalog(tmp_path, [catalog_row(record) for record in RECORDS], ids=ClassTable.mvimgnet().ids)
    return tmp_path


def test_numbers(root: Path) -> None:
    stats = read_stats(root)
    assert stats.counts.total == 60 and stats.num_classes == 3 and stats.num_frames == 120
    assert stats.counts.rejected == sum(record.status == "rejected" for record in RECORDS)
    assert stats.num_bytes == sum(2 * (10 + number) for number in range(60))
    for item in stats.classes:
        mine = [record for record in RECORDS if record.class_label == item.label]
        assert item.counts.total == len(mine) and item.class_id == {"mug": "17", "bowl": "43"}.get(item.label)
        assert item.counts.accepted == sum(record.status == "accepted" for record in mine)
    assert [item.counts.total for item in stats.classes] == sorted(
        (item.counts.total for item in stats.classes), reverse=True
    )
    assert {item.code: (item.count, item.verdict) for item in stats.reasons} == {
        "short_arc": (20, "warn"), "strange": (20, ""),
    }  # fmt: skip
    assert [(stage.name, stage.count, stage.total_cpu_s) for stage in stats.stages] == [
        ("capture", 60, 3540.0), ("depth", 60, 3540.0),
    ]  # fmt: skip
    assert stats.stages[0].median_s == statistics.median(range(60))


def test_stages_stand_in_their_order(tmp_path: Path) -> None:
    """Whatever the first row came to; and the order is that of the pipeline."""
    assert tuple(stage.name for stage in STAGES) == STAGE_ORDER
    chains = (("capture", "quality"), ("capture", "frames", "cameras", "quality"), STAGE_ORDER)
    records = [
        dataclasses.replace(
            RECORD, instance_id=f"id{number}", stages={name: StageRecord(key="k") for name in chain}
        )
        for number, chain in enumerate(chains)
    ]
    write_catalog(tmp_path, [catalog_row(record) for record in records])
    stats = read_stats(tmp_path)
    assert tuple(item.name for item in stats.stages) == STAGE_ORDER
    assert [item.count for item in stats.stages] == [3, 2, 1, 2, 1, 1, 1, 3]


def test_scores(root: Path) -> None:
    scores = {score.name: score for score in read_stats(root).scores}
    assert list(scores) == ["arc_deg", "constant"]  # `lost` was never a number
    values = sorted(record.scores["arc_deg"] or 0.0 for record in RECORDS)
    assert scores["arc_deg"].median == pytest.approx(statistics.median(values))
    assert sum(scores["arc_deg"].bins) == len(values) and len(scores["arc_deg"].bins) == NUM_BINS
    assert scores["constant"].bins[NUM_BINS // 2] == 60 == sum(scores["constant"].bins)


def test_text(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stats", str(root), "--top", "2"]) == 0
    out = capsys.readouterr().out
    assert "60 sequences of 3 classes" in out and "1 more" in out
    for said in ("short_arc", "The arc is under 150 degrees", "capture", "arc_deg", "█"):
        assert said in out
    assert main(["stats", str(root), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["counts"]["accepted"] > 0


@pytest.mark.parametrize("suffix", [".svg", ".html"])
def test_page(root: Path, suffix: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = root / f"plot{suffix}"
    assert main(["stats", str(root), "--plot", str(path)]) == 0
    text = path.read_text(encoding="utf-8")
    drawing = ElementTree.fromstring(text[text.index("<svg") : text.rindex("</svg>") + 6])
    words = "".join(drawing.itertext())
    assert "toy <cat> & dog" in words and "short_arc" in words and "arc_deg" in words
    assert "src=" not in text and "<script" not in text
    assert main(["stats", str(root), "--plot", "x.png"]) == 2
    assert "neither .html nor .svg" in capsys.readouterr().err


def test_an_empty_dataset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stats", str(tmp_path)]) == 2
    write_catalog(tmp_path, [])
    assert main(["stats", str(tmp_path), "--plot", str(tmp_path / "p.svg")]) == 0
    assert "0 sequences of 0 classes" in capsys.readouterr().out


def test_two_sequences(tmp_path: Path) -> None:
    """None of two values lies between the quantiles."""
    two = [dataclasses.replace(RECORD, instance_id=f"i{n}", scores={"arc_deg": float(n)}) for n in (1, 2)]
    write_catalog(tmp_path, [catalog_row(record) for record in two])
    (score,) = read_stats(tmp_path).scores
    assert score.bins[0] == score.bins[-1] == 1 and sum(score.bins) == 2
    assert main(["stats", str(tmp_path), "--plot", str(tmp_path / "page.html")]) == 0
