"""`walkaround build --hdr`: exposures found, frames of one exposure chosen, fused, and all of it resumed."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest

from tests.clips import write_video
from tests.hdr_clips import make_clip
from tests.trees import tree
from walkaround.capture.inspect import inspect_capture
from walkaround.cli import main
from walkaround.commands.console import say_result
from walkaround.dataset.audit.verify import verify_dataset
from walkaround.frames.extract import extract_frames
from walkaround.frames.options import FramesOptions
from walkaround.hdr.options import HdrOptions
from walkaround.pipeline import BuildOptions, build_sequence, sequence_folder

LATER = ["cameras", "depth", "masks", "cloud"]
OPTIONS = BuildOptions(hdr=HdrOptions(response="gamma"), frames=FramesOptions(num_frames=8), threads=1)


@pytest.fixture
def stages(fake_stages: ModuleType, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Fake stages from the cameras on; the first ones are real."""

    def extract(*arguments: Any, **more: Any) -> Any:
        fake_stages.calls.append("frames")
        result = extract_frames(*arguments, **more)
        return dataclasses.replace(result, focal_prior_px=100.0)

    monkeypatch.setattr("walkaround.capture.inspect_capture", inspect_capture)
    monkeypatch.setattr("walkaround.frames.extract_frames", extract)
    return fake_stages


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    frames = make_clip((1.0, 8.0), 24, height=120, width=200, step=3.0, moving=False).frames
    images = [np.rint(frame.image * 255).astype(np.uint8) for frame in frames]
    return write_video(tmp_path_factory.mktemp("hdr") / "clip.mp4", images, rate=12, options={"crf": "6"})


def means(folder: Path) -> list[float]:
    return [float(cv2.imread(str(path)).mean()) for path in sorted(folder.glob("*.jpg"))]


def test_later_stages_see_the_fused_frames(stages: ModuleType, video: Path, tmp_path: Path) -> None:
    record = build_sequence(video, tmp_path, options=OPTIONS)
    folder = sequence_folder(tmp_path, record)
    assert list(record.stages)[:4] == ["capture", "frames", "hdr", "cameras"]
    assert record.status == "accepted", record.message
    found = record.notes["capture"]["exposures"]
    assert found["origin"] == "frames" and np.allclose(found["ev"], [0, 3], atol=0.2)
    assert {frame.source_index % 2 for frame in record.frames} == {found["reference"]}
    assert record.notes["hdr"]["source_frames"]["002.jpg"][1] == record.frames[1].source_index
    assert record.options["hdr"]["tonemap"] == "filmic"
    assert record.scores["exposure_range_ev"] == max(found["ev"]) and record.scores["hdr_confidence"] > 0.8
    fused, plain = means(folder / "images"), means(folder / "exposures")
    assert len(fused) == len(plain) == len(record.frames) == 8
    wrong = [item for item in verify_dataset(tmp_path) if "frames" in item.text or "exposures" in item.path]
    assert wrong == [], "`walkaround verify` knows whose the images are"
    assert max(fused) < 1.25 * min(fused)
    assert max(abs(a - b) for a, b in zip(fused, plain, strict=True)) > 5, "not the frames as they were"


def test_a_second_build_does_nothing_and_options_run_what_they_touch(
    stages: ModuleType, video: Path, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    record = build_sequence(video, root, options=OPTIONS)
    before = tree(root)
    stages.calls.clear()
    assert build_sequence(video, root, options=OPTIONS) == record
    assert stages.calls == [] and tree(root) == before
    (sequence_folder(root, record) / "images" / "003.jpg").unlink()
    assert build_sequence(video, root, options=OPTIONS).status == "accepted"
    assert stages.calls == LATER and tree(root) == before, "the frames stage has no part in it"
    stages.calls.clear()
    other = dataclasses.replace(OPTIONS, hdr=HdrOptions(response="gamma", tonemap="drago"))
    build_sequence(video, root, options=other)
    assert stages.calls == LATER
    stages.calls.clear()
    without = dataclasses.replace(OPTIONS, hdr=None)
    record = build_sequence(video, root, options=without)
    assert stages.calls == ["frames", *LATER] and "hdr" not in record.stages and "hdr" not in record.options
    build_sequence(video, tmp_path / "fresh", options=without)
    left, fresh = tree(root), tree(tmp_path / "fresh")
    del left["dataset.json"], fresh["dataset.json"]  # it keeps the options of the first build
    assert left == fresh, "nothing of HDR is left"


def test_a_capture_that_does_not_alternate_is_rejected(
    stages: ModuleType, tmp_path: Path, video: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frames = make_clip((1.0,), 16, height=120, width=160, moving=False).frames
    plain = write_video(
        tmp_path / "plain.mp4", [np.rint(f.image * 255).astype(np.uint8) for f in frames], rate=8
    )
    record = build_sequence(plain, tmp_path / "root", options=OPTIONS)
    assert record.status == "rejected" and "no_alternation" in record.reasons
    assert "do not alternate: frames differ by 0.0" in record.message
    wrong = dataclasses.replace(OPTIONS, hdr=HdrOptions(response="gamma", exposures="3,0"))
    record = build_sequence(video, tmp_path / "root", options=wrong)
    assert record.status == "rejected" and "wrong order" in record.message
    assert "Pass --hdr.exposures 0,3" in record.message, "as a build names it"
    assert "exposure_range_ev" not in record.scores, "what was not measured has no number"
    say_result(record, tmp_path)
    assert "reason no_alternation: --hdr.exposures 3,0 are in the wrong order" in capsys.readouterr().err


def test_photos_keep_all_of_them(stages: ModuleType, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for i, frame in enumerate(make_clip((1.0, 4.0, 16.0), 9, height=90, width=140, moving=False).frames):
        cv2.imwrite(str(photos / f"{i}.png"), np.rint(frame.image[..., ::-1] * 255).astype(np.uint8))
    record = build_sequence(photos, tmp_path / "root", options=OPTIONS)
    folder = sequence_folder(tmp_path / "root", record)
    assert len(record.frames) == 9 and len(set(record.notes["hdr"]["exposures"].values())) == 3
    plain, fused = means(folder / "exposures"), means(folder / "images")
    assert max(plain) > 2 * min(plain) and max(fused) < 1.3 * min(fused)


def test_options_of_hdr_need_hdr(video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["build", str(video), "--out", str(tmp_path), "--hdr.tonemap", "drago"]
    assert main(command) == 2
    assert "given without --hdr" in capsys.readouterr().err
    assert main([*command, "--hdr", "--hdr.response", "film"]) == 2
    assert "--response is 'film'" in capsys.readouterr().err
