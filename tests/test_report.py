"""The report page: complete, self-contained, deterministic, and there even when little is."""

from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tests import fakes
from tests.trees import tree
from walkaround.dataset.schema import read_record, write_record
from walkaround.errors import FormatError
from walkaround.pipeline import BuildOptions, build_sequence, sequence_folder
from walkaround.quality.pictures import cloud_sides, coloured_depth, inverse_depth_range
from walkaround.quality.plan import largest_gap_deg, plan_svg
from walkaround.quality.report import write_report
from walkaround.types import PointCloud

VOID = {"meta", "img", "br"}


class Balance(HTMLParser):
    """Checks that every element is closed, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture
def folder(fake_stages: ModuleType, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A finished sequence."""
    monkeypatch.setattr("walkaround.io.pointcloud.read_ply", lambda path: fakes.make_cloud())
    fake_stages.scores["cameras"] = {"arc_deg": 90.0, "reprojection_error_px": 0.5}
    record = build_sequence(
        source, tmp_path / "root", options=BuildOptions(class_label="<mug> & co", threads=1)
    )
    return sequence_folder(tmp_path / "root", record)


def test_the_page_holds_everything(folder: Path) -> None:
    page = (folder / "report.html").read_text(encoding="utf-8")
    balance = Balance()
    balance.feed(page)
    assert balance.open == [] and "script" not in balance.seen
    assert not re.search(r"(src|href)=.(?!data:)", page) and "http" not in page
    assert "&lt;mug&gt; &amp; co" in page and "<mug>" not in page
    assert balance.seen.count("img") == 4 + fakes.NUM_FRAMES + (fakes.NUM_FRAMES - 1)
    assert page.count("not registered") == 1
    for title in (
        "Object",
        "Cameras",
        "Frames and masks",
        "Depth",
        "Scores",
        "Timings",
        "Where this comes from",
    ):
        assert f"<h2>{title}</h2>" in page
    assert "short_arc" in page and "The arc is under 150 degrees" in page
    assert page.count('class="frustum"') == fakes.NUM_FRAMES - 1
    assert len(page) < 3_000_000


def test_the_page_is_the_same_twice(folder: Path) -> None:
    before = tree(folder)["report.html"]
    write_report(folder)
    after = tree(folder)["report.html"]
    assert before == after


@pytest.mark.parametrize("lost", ["images", "sparse", "depth", "masks", "cloud.ply", "confidence"])
def test_a_part_is_missing(folder: Path, lost: str) -> None:
    path = folder / lost
    path.rename(folder / "elsewhere")
    page = write_report(folder).read_text(encoding="utf-8")
    balance = Balance()
    balance.feed(page)
    assert balance.open == []


@pytest.mark.parametrize("broken", ["images/002.jpg", "depth/002.png", "masks/002.png"])
def test_a_part_is_broken(folder: Path, broken: str) -> None:
    (folder / broken).write_bytes(b"broken")
    page = write_report(folder).read_text(encoding="utf-8")
    assert ("missing" in page) == (not broken.startswith("masks"))


def test_a_rejected_one_says_why(fake_stages: ModuleType, source: Path, tmp_path: Path) -> None:
    fake_stages.scores["capture"] = {"num_source_frames": 1.0, "duration_s": float("nan")}
    record = build_sequence(source, tmp_path / "root", options=BuildOptions(threads=1))
    page = (sequence_folder(tmp_path / "root", record) / "report.html").read_text(encoding="utf-8")
    assert "rejected" in page and "Fewer than 8 frames can be decoded" in page and "not a number" in page
    assert "<h2>Depth</h2>" not in page and "<h2>Cameras</h2>" not in page


def test_many_frames_stay_light(folder: Path) -> None:
    record = read_record(folder)
    many = tuple(record.frames[0] for _ in range(100))
    write_record(folder, dataclasses.replace(record, frames=many))
    assert write_report(folder, folder / "other.html").stat().st_size < 3_000_000


def test_no_sequence(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="not a sequence folder"):
        write_report(tmp_path)


def test_the_nearest_point_of_the_cloud_wins() -> None:
    """A red point before a blue one hides it; from behind it is the other way round."""
    points = np.array([[0.5, 0, 0], [-0.5, 0, 0], [0, 0, 1], [0, 0, -1], [0, 1, 0], [0, -1, 0]], np.float32)
    colors = np.array([[255, 0, 0], [0, 0, 255], *[[0, 255, 0]] * 4], np.uint8)
    cloud = PointCloud(points_in_world=points, colors=colors)
    for azimuth, channel in ((0.0, 2), (180.0, 0)):
        (image,) = cloud_sides(cloud, [azimuth], size=80, elevation_deg=0.0)
        assert int(np.argmax(image[40, 40])) == channel


def test_the_right_hand_side_is_right() -> None:
    """Seen from +x with z up, +y lies to the right."""
    points = np.array([[0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]], np.float32)
    colors = np.array([[255, 0, 0], [0, 0, 255], [0, 255, 0], [0, 0, 0]], np.uint8)
    (image,) = cloud_sides(
        PointCloud(points_in_world=points, colors=colors), [0.0], size=80, elevation_deg=0.0
    )
    red = np.argwhere((image[..., 2] > 200) & (image[..., 0] < 100))
    green = np.argwhere((image[..., 1] > 200) & (image[..., 0] < 100) & (image[..., 2] < 100))
    assert red[:, 1].mean() > 60 and green[:, 0].mean() < 20


def test_depth_colours() -> None:
    depth = np.array([[0.5, 1.0, np.nan]])
    image = coloured_depth(depth, inverse_depth_range([depth]))
    assert image[0, 0, 2] > image[0, 0, 0] and image[0, 1, 0] >= image[0, 1, 2]
    assert (image[0, 2] == 150).all()
    assert inverse_depth_range([np.full((2, 2), np.nan)]) == (0.0, 1.0)


def test_the_plan_shows_the_gap() -> None:
    model = fakes.make_model(fakes.make_frames())
    gap, _ = largest_gap_deg(np.array([view.centre for view in model.views]))
    assert gap == pytest.approx(360 - 8 / 10 * 1.6 * 180)
    assert f"gap {gap:.0f}°" in plan_svg(model, None)
    assert plan_svg(dataclasses.replace(model, views=model.views[:1]), fakes.make_cloud()).endswith("</svg>")


def test_cameras_in_no_order_are_not_joined(folder: Path) -> None:
    def page() -> str:
        return write_report(folder).read_text(encoding="utf-8")

    assert 'class="path"' in page()
    record = read_record(folder)
    photos = dataclasses.replace(record, source=dataclasses.replace(record.source, kind="photos"))
    write_record(folder, photos)
    assert 'class="path"' not in page() and "walk" not in re.sub(r"walkaround|walk-around", "", page())
    cameras = dataclasses.replace(record.stages["cameras"], notes={"in_order": True})
    write_record(folder, dataclasses.replace(photos, stages={**record.stages, "cameras": cameras}))
    assert 'class="path"' in page()
