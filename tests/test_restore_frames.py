"""Noise out of a sequence's frames, alone and within a build."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")

from walkaround.cli import main
from walkaround.restore.frames import RestoredFrames, restore_frames
from walkaround.restore.options import PairsOptions, RestoreFramesOptions


def frame(shift: int) -> np.ndarray:
    """Return (96, 112, 3), 8 bits."""
    rows, columns = np.mgrid[:96, :112]
    picture = np.stack([128 + 80 * np.sin((columns + shift) / 9), 60 + rows, 200 - columns], -1)
    picture[30:60, 20 + shift : 60 + shift] = (200, 60, 70)
    return np.clip(picture, 0, 255)


def error(image: np.ndarray, truth: np.ndarray) -> float:
    return float(np.square(image.astype(float) - truth).mean())


def test_frames_lose_their_noise(tmp_path: Path) -> None:
    source, names = np.random.default_rng(0), tuple(f"{i:03d}.jpg" for i in range(1, 6))
    for number, name in enumerate(names):
        noisy = np.clip(frame(number) + 20 * source.standard_normal((96, 112, 3)), 0, 255).astype(np.uint8)
        cv2.imwrite(str(tmp_path / name), noisy[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 98])
    before = [error(cv2.imread(str(tmp_path / name))[..., ::-1], frame(i)) for i, name in enumerate(names)]
    told: list[float] = []
    options = RestoreFramesOptions(task="denoise", pairs=PairsOptions(iterations=40, channels=16))
    result = restore_frames(tmp_path, names, options=options, jpeg_quality=98, progress=told.append)
    after = [error(cv2.imread(str(tmp_path / name))[..., ::-1], frame(i)) for i, name in enumerate(names)]
    assert max(a / b for a, b in zip(after, before, strict=True)) < 0.25
    assert 10 < result.scores["noise_sigma"] < 22  # JPEG halves the colours and takes noise with them
    assert told[-1] == 1 and told == sorted(told)
    assert sorted(path.name for path in tmp_path.iterdir()) == list(names)


def test_a_build_restores_only_when_asked(
    tmp_path: Path, fake_stages: ModuleType, source: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    asked: list[tuple[str, ...]] = []

    def fake(image_dir: Path, names: tuple[str, ...], **rest: Any) -> RestoredFrames:
        assert all((image_dir / name).is_file() for name in names)
        asked.append(names)
        return RestoredFrames(scores={"noise_sigma": 7.0})

    monkeypatch.setattr("walkaround.restore.frames.restore_frames", fake)
    command = ["build", str(source), "--out", str(tmp_path / "root")]
    assert main(command) == 0
    assert asked == []
    fake_stages.calls.clear()
    restoring = [*command, "--restore.task", "denoise"]
    assert main(restoring) == 0
    assert len(asked) == 1 and len(asked[0]) == 10
    assert fake_stages.calls[0] == "frames"
    (record,) = (tmp_path / "root" / "unlabelled").glob("*/sequence.json")
    assert json.loads(record.read_text())["scores"]["noise_sigma"] == 7.0
    fake_stages.calls.clear()
    assert main(restoring) == 0
    assert fake_stages.calls == [] and len(asked) == 1
    assert main([*restoring, "--restore.sigma", "200"]) == 2
    for wrong in (["--restore.pairs.patch-px", "30"], ["--restore.pairs.channels", "0"], ["--seed", "-1"]):
        capsys.readouterr()
        assert main([*restoring, *wrong]) == 2
        assert " ".join(wrong) in capsys.readouterr().err
    assert fake_stages.calls == []


def test_a_build_says_before_any_work_that_torch_is_missing(
    tmp_path: Path, fake_stages: ModuleType, source: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr("walkaround.restore.frames.importlib.util.find_spec", lambda name: None)
    command = ["build", str(source), "--out", str(tmp_path / "root"), "--restore.task", "denoise"]
    assert main(command) == 2
    assert "walkaround[torch]" in capsys.readouterr().err
    assert fake_stages.calls == []
