"""`walkaround hdr`: a clip in, radiance, confidence, video and record out; resume; what it refuses."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from tests.clips import exif_block, jpeg_with_exif, write_video
from tests.hdr_clips import Clip, make_clip, psnr_mu
from walkaround.cli import main
from walkaround.errors import InputError
from walkaround.hdr.exposures import Exposures
from walkaround.hdr.fusion import make_fusion
from walkaround.hdr.reading import open_clip, read_recorded
from walkaround.hdr.response import known_response
from walkaround.hdr.sliding import slide
from walkaround.hdr.tonemapping import CURVES, fit_curve
from walkaround.hdr.windows import window_around
from walkaround.io.radiance import read_radiance, write_radiance

EXPOSURES = (1.0, 8.0)


@pytest.fixture(scope="module")
def clip() -> Clip:
    return make_clip(EXPOSURES, 6, height=90, width=160, step=2.0)


@pytest.fixture(scope="module")
def folder(clip: Clip, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clip")
    for i, frame in enumerate(clip.frames):
        codes = np.rint(frame.image[..., ::-1] * 255).astype(np.uint8)
        cv2.imwrite(str(folder / f"frame {i + 1}.png"), codes)
    return folder


def files_of(out: Path) -> dict[str, bytes]:
    return {
        path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*.*") if path.is_file()
    }


def test_a_folder_of_images(
    folder: Path, clip: Clip, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    command = ["hdr", str(folder), "--out", str(out), "--response", "gamma", "--json"]
    assert main(command) == 0
    said = capsys.readouterr()
    record = json.loads(said.out)
    assert record == json.loads((out / "exposures.json").read_text())
    assert record["origin"] == "frames" and np.allclose(record["ev"], [0, 3], atol=0.08)
    assert [frame["exposure"] for frame in record["frames"][:2]] == [1.0, pytest.approx(8, rel=0.06)]
    assert "6 frames, exposures 0, " in said.err and "6 of 6 images carry no exposure time" in said.err
    assert "frame 1" not in json.dumps(record), "names of the input stay out"
    for i, truth in enumerate(clip.truth):
        assert psnr_mu(read_radiance(out / "radiance" / f"{i + 1:04d}.exr"), truth) > 30
        confidence = cv2.imread(str(out / "confidence" / f"{i + 1:04d}.png"), cv2.IMREAD_UNCHANGED)
        assert confidence.shape == (90, 160) and confidence.dtype == np.uint8
    with av.open(str(out / "tonemapped.mp4")) as container:
        shown = [frame.to_ndarray(format="rgb24").mean() for frame in container.decode(video=0)]
    assert len(shown) == 6 and max(shown) < 1.1 * min(shown), "the exposures must not show"


def test_it_goes_on_where_it_stopped(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, out = tmp_path / "whole", tmp_path / "out"
    command = ["hdr", str(folder), "--exposures", "0,3", "--out"]
    assert main([*command, str(whole)]) == 0
    assert main([*command, str(out)]) == 0
    (out / "radiance" / "0003.exr").unlink()
    (out / "confidence" / "0005.png").unlink()
    (out / "tonemapped.mp4").unlink()
    capsys.readouterr()
    assert main([*command, str(out)]) == 0
    assert "; 2 written" in capsys.readouterr().err
    found, expected = files_of(out), files_of(whole)
    assert [name for name in expected if found.get(name) != expected[name]] == []
    assert main([*command, str(out)]) == 0
    assert "; 0 written" in capsys.readouterr().err
    assert files_of(out) == files_of(whole)


def test_a_killed_run_leaves_whole_files_and_goes_on(tmp_path: Path) -> None:
    source, out = tmp_path / "clip", tmp_path / "out"
    source.mkdir()
    for i, frame in enumerate(make_clip(EXPOSURES, 24, height=90, width=160, step=1.0).frames):
        cv2.imwrite(str(source / f"{i}.png"), np.rint(frame.image[..., ::-1] * 255).astype(np.uint8))
    command = ["hdr", str(source), "--exposures", "0,3", "--out"]
    child = subprocess.Popen(
        [sys.executable, "-m", "walkaround", *command, str(out)], stderr=subprocess.DEVNULL
    )
    while child.poll() is None and not (out / "radiance" / "0003.exr").exists():
        time.sleep(0.005)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL, "it was to be killed before its end"
    left = sorted((out / "radiance").glob("0*.exr"))
    assert 3 <= len(left) < 24
    for path in left:
        assert read_radiance(path).shape == (90, 160, 3)
    assert main([*command, str(out)]) == 0
    assert main([*command, str(tmp_path / "whole")]) == 0
    found, whole = files_of(out), files_of(tmp_path / "whole")
    assert found.keys() == whole.keys(), "nothing half written is left"
    assert [name for name in whole if found[name] != whole[name]] == []


def test_other_options_are_refused_or_replace(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["hdr", str(folder), "--out", str(tmp_path), "--format", "hdr", "--exposures", "0,3"]
    assert main(command) == 0
    before = read_radiance(tmp_path / "radiance" / "0002.hdr")
    assert main([*command, "--method", "naive"]) == 2
    assert "holds the result of another clip or of other options" in capsys.readouterr().err
    assert main([*command, "--method", "naive", "--overwrite"]) == 0
    assert not np.allclose(before, read_radiance(tmp_path / "radiance" / "0002.hdr"), atol=1e-3)
    assert main([*command, "--method", "naive", "--tonemap", "drago"]) == 0
    assert "; 0 written" in capsys.readouterr().err
    assert json.loads((tmp_path / "exposures.json").read_text())["tonemap"]["name"] == "drago"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--tonemap", "nicest"], "--tonemap is 'nicest'; it must be one of filmic"),
        (["--method", "best"], "--method is 'best'"),
        (["--response", "film"], "--response is 'film'"),
        (["--format", "png"], "--format is 'png'"),
        (["--exposures", "3,0"], "wrong order"),
    ],
)
def test_wrong_usage(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], said: str
) -> None:
    assert main(["hdr", str(folder), "--out", str(tmp_path / "out"), *more]) == 2
    assert said in capsys.readouterr().err
    assert not list((tmp_path / "out").glob("[a-z]*")), "nothing was written"


def test_a_video(clip: Clip, tmp_path: Path) -> None:
    images = [np.rint(frame.image * 255).astype(np.uint8) for frame in clip.frames]
    video = write_video(tmp_path / "clip.mp4", images, rate=12, options={"crf": "4"})
    assert main(["hdr", str(video), "--out", str(tmp_path / "out"), "--response", "gamma"]) == 0
    record = json.loads((tmp_path / "out" / "exposures.json").read_text())
    assert record["tonemap"]["frame_rate"] == 12 and np.allclose(record["ev"], [0, 3], atol=0.3)


def test_deep_and_linear_images(clip: Clip, tmp_path: Path) -> None:
    image = clip.frames[1].image
    codes = np.rint(image[..., ::-1] * 65535).astype(np.uint16)
    for name in ("deep.png", "deep.tif"):
        cv2.imwrite(str(tmp_path / name), codes)
        assert np.abs(read_recorded(tmp_path / name) - image).max() < 1e-5
    for name in ("light.exr", "light.hdr"):
        write_radiance(tmp_path / name, image)
        assert np.abs(read_recorded(tmp_path / name) - image).max() < 1e-2
    cv2.imwrite(str(tmp_path / "grey.png"), codes[..., 0])
    assert read_recorded(tmp_path / "grey.png").shape == image.shape
    write_radiance(tmp_path / "bright.exr", image * 3)
    with pytest.raises(InputError, match=r"linear values up to 3, .* above 1"):
        read_recorded(tmp_path / "bright.exr")


def test_exposure_times_of_jpegs(clip: Clip, tmp_path: Path) -> None:
    for i, frame in enumerate(clip.frames):
        image = np.rint(frame.image * 255).astype(np.uint8)
        block = exif_block(1, exposure=(1, 400) if i % 2 == 0 else (1, 50))
        (tmp_path / f"{i}.jpg").write_bytes(jpeg_with_exif(image, block))
    assert np.allclose(np.diff(open_clip(tmp_path).exif_ev[:3]), [3, -3])
    assert main(["hdr", str(tmp_path), "--out", str(tmp_path / "out"), "--response", "gamma"]) == 0
    record = json.loads((tmp_path / "out" / "exposures.json").read_text())
    assert (record["origin"], record["ev"], record["notes"]) == ("exif", [0.0, 3.0], [])


def test_folders_that_are_no_clip(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no images"):
        open_clip(tmp_path)
    write_radiance(tmp_path / "a.exr", np.ones((8, 8, 3), np.float32))
    cv2.imwrite(str(tmp_path / "b.png"), np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(InputError, match=r"1 linear images .* among 2"):
        open_clip(tmp_path)
    (tmp_path / "a.exr").unlink()
    cv2.imwrite(str(tmp_path / "c.png"), np.zeros((8, 9, 3), np.uint8))
    with pytest.raises(InputError, match=r"Frame 2 of .* has 9 x 8 pixels, those before it 8 x 8"):
        list(open_clip(tmp_path).frames())
    (tmp_path / "c.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"c\.png is damaged"):
        list(open_clip(tmp_path).frames())


@pytest.mark.parametrize("period", [2, 3])
def test_windows_slide_with_few_frames_in_memory(folder: Path, clip: Clip, period: int) -> None:
    levels = tuple(float(ev) for ev in range(period))
    exposures = Exposures(ev=levels, origin="given", measured_ev=None, flicker_ev=0.0)
    source = open_clip(folder)
    for references in ([0, 1, 2, 3, 4, 5], [1, 5], [4]):
        slid = list(slide(source, exposures, references, 6))
        assert [index for index, _ in slid] == references
        for index, window in slid:
            expected = window_around(clip.frames, index, period)
            for frame, wanted in zip(window, expected, strict=True):
                assert np.abs(frame.image - wanted.image).max() < 1e-6
    with pytest.raises(InputError, match=r"ends before frame 7"):
        list(slide(source, exposures, [6], 7))


def test_radiance_files_come_back(tmp_path: Path) -> None:
    radiance = np.random.default_rng(0).random((20, 30, 3), np.float32) * 40
    write_radiance(tmp_path / "a.exr", radiance)
    assert np.abs(read_radiance(tmp_path / "a.exr") / radiance - 1).max() < 1e-3
    write_radiance(tmp_path / "a.hdr", radiance)
    assert np.abs(read_radiance(tmp_path / "a.hdr") - radiance).max() < 0.01 * radiance.max()


@pytest.mark.parametrize("name", CURVES)
def test_tone_curves(name: str, clip: Clip) -> None:
    curve = fit_curve(clip.truth, name)
    grey = np.geomspace(1e-4, 1e3, 200, dtype=np.float32)[None, :, None].repeat(3, axis=2) / np.float32(
        curve.gain
    )
    shown = curve.picture(grey)[0]
    assert (np.diff(shown[:, 0].astype(int)) >= 0).all() and shown[-1].tolist() == [255] * 3
    assert (shown == shown[:, :1]).all(), "grey stays grey"
    middle = curve.picture(np.full((1, 1, 3), 0.18 / curve.gain, np.float32))[0, 0, 0]
    assert 60 < middle < 170
    brighter = fit_curve(clip.truth, name, brightness_ev=1.0)
    assert brighter.gain == pytest.approx(2 * curve.gain)


def test_fusion_of_the_tool_is_that_of_the_function(folder: Path, clip: Clip, tmp_path: Path) -> None:
    assert (
        main(["hdr", str(folder), "--out", str(tmp_path), "--exposures", "0,3", "--response", "gamma"]) == 0
    )
    fused = make_fusion(known_response("gamma"))(window_around(clip.frames, 3, 2))
    half = fused.radiance.astype(np.float16).astype(np.float32)
    assert np.allclose(read_radiance(tmp_path / "radiance" / "0004.exr"), half, rtol=2e-3)
