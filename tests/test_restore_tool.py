"""``walkaround restore``: five tasks, kinds of pictures, records, continued runs, what is refused."""

from __future__ import annotations

import io
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")

from walkaround.cli import main
from walkaround.restore import folder, restore
from walkaround.restore.generators import GENERATORS
from walkaround.restore.options import GENERATOR_NAMES
from walkaround.restore.picture import Picture, decode_picture, encode_png, read_picture

QUICK = ["--pairs.iterations", "3", "--pairs.channels", "8", "--pairs.draws", "1", "--prior.iterations", "3",
         "--threads", "1"]  # fmt: skip


def scene(height: int = 64, width: int = 72) -> np.ndarray:
    """Return (H, W, 3) BGR, 8 bits."""
    rows, columns = np.mgrid[:height, :width]
    picture = np.stack([128 + 90 * np.sin(columns / 7), 40 + 2 * rows, 200 - columns], -1)
    picture[20:45, 25:50] = (220, 40, 60)
    return np.clip(picture, 0, 255).astype(np.uint8)


def write(path: Path, image: np.ndarray, *flags: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image, list(flags))
    return path


def record(path: Path) -> dict:
    return json.loads(path.read_text())


@pytest.mark.parametrize("method", ["pairs", "prior"])
@pytest.mark.parametrize("task", ["denoise", "inpaint", "upscale", "deblur", "dejpeg"])
def test_every_task_writes_a_picture_and_a_record(tmp_path: Path, task: str, method: str) -> None:
    clean = scene()
    source = write(tmp_path / "in.jpg", clean, cv2.IMWRITE_JPEG_QUALITY, 30)
    more = {
        "inpaint": [
            "--mask",
            str(write(tmp_path / "mask.png", (clean[..., 0] > 200).astype(np.uint8) * 255)),
        ],
        "upscale": ["--factor", "2"],
        "deblur": ["--kernel", "gaussian:0.8"],
    }.get(task, [])
    arguments = [
        "restore",
        task,
        str(source),
        "--out",
        str(tmp_path / "out"),
        "--method",
        method,
        *more,
        *QUICK,
    ]
    assert main(arguments) == 0
    scale = 2 if task == "upscale" else 1
    result = read_picture(tmp_path / "out" / "in.png").image
    assert result.shape == (64 * scale, 72 * scale, 3)
    assert np.abs(result[16 * scale].mean() - read_picture(source).image[16].mean()) < 0.35
    note = record(tmp_path / "out" / "in.json")
    assert note["task"] == task and note["options"]["method"] == method and note["cpu_seconds"] > 0
    assert str(tmp_path) not in json.dumps(note)


def test_known_pixels_stay(tmp_path: Path) -> None:
    mask = np.zeros((64, 72), np.uint8)
    mask[10:14], mask[25:60, 20:50] = 255, 255  # a scratch, and a hole that the prior draws
    source = write(tmp_path / "in.png", scene())
    assert main(["restore", "inpaint", str(source), "--out", str(tmp_path / "out"), "--mask",
                 str(write(tmp_path / "mask.png", mask)), *QUICK]) == 0  # fmt: skip
    before, after = scene(), cv2.imread(str(tmp_path / "out" / "in.png"))
    np.testing.assert_array_equal(after[mask == 0], before[mask == 0])
    assert np.abs(after[mask > 0].astype(int) - before[mask > 0]).max() > 0
    assert record(tmp_path / "out" / "in.json")["large_hole_share"] == pytest.approx(
        35 * 30 / 64 / 72, abs=1e-4
    )


@pytest.mark.parametrize("kind", ["grey", "grey 16", "colour 16", "alpha", "tiny"])
def test_kinds_of_pictures_keep_their_kind(tmp_path: Path, kind: str) -> None:
    image = scene()
    if kind.startswith("grey"):
        image = image[..., 0]
    if kind.endswith("16"):
        image = image.astype(np.uint16) * 256 + 77
    if kind == "alpha":
        image = np.dstack(
            [image, np.linspace(0, 255, image.size // 3).reshape(image.shape[:2]).astype(np.uint8)]
        )
    if kind == "tiny":
        image = image[:5, :3]
    source = write(tmp_path / "in.png", image)
    assert (
        main(["restore", "denoise", str(source), "--out", str(tmp_path / "o"), "--sigma", "5", *QUICK]) == 0
    )
    result = cv2.imread(str(tmp_path / "o" / "in.png"), cv2.IMREAD_UNCHANGED)
    assert result.shape == image.shape and result.dtype == image.dtype
    if kind == "alpha":
        np.testing.assert_array_equal(result[..., 3], image[..., 3])


@pytest.mark.parametrize("shape", [(7, 9), (7, 9, 3), (7, 9, 4)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_pictures_survive_decoding_and_encoding(shape: tuple[int, ...], dtype: type) -> None:
    stored = np.random.default_rng(0).integers(0, np.iinfo(dtype).max + 1, shape).astype(dtype)
    data = cv2.imencode(".png", stored)[1].tobytes()
    again = cv2.imdecode(np.frombuffer(encode_png(decode_picture(data, "x")), np.uint8), -1)
    np.testing.assert_array_equal(again, stored)


@pytest.mark.parametrize("bits", [8, 16])
def test_grey_with_transparency_stays_grey(tmp_path: Path, bits: int) -> None:
    """PIL reads it as such at 8 bits alone; OpenCV reads it as colour with alpha."""
    image_module = pytest.importorskip("PIL.Image")
    kind = np.uint8 if bits == 8 else np.uint16
    stored = np.random.default_rng(0).integers(0, np.iinfo(kind).max + 1, (19, 23, 2)).astype(kind)
    top = np.float32(np.iinfo(kind).max)
    grey, alpha = stored[..., :1] / top, stored[..., 1] / top
    data = encode_png(Picture(image=grey, alpha=alpha, bits=bits))
    assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED).dtype == kind
    if bits == 8:
        opened = image_module.open(io.BytesIO(data))
        assert opened.mode == "LA"
        np.testing.assert_array_equal(np.asarray(opened), stored)
        image_module.fromarray(stored).save(tmp_path / "la.png")
        data = (tmp_path / "la.png").read_bytes()
    again = decode_picture(data, "x")
    np.testing.assert_array_equal(np.round(again.image * top), stored[..., :1])
    np.testing.assert_array_equal(np.round(again.alpha * top), stored[..., 1])
    assert again.bits == bits


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photos_are_turned_as_exif_says(tmp_path: Path, orientation: int) -> None:
    image_module = pytest.importorskip("PIL.Image")
    from PIL import ImageOps

    photo = image_module.fromarray(scene()[..., ::-1].copy())
    exif = photo.getexif()
    exif[0x0112] = orientation
    photo.save(tmp_path / "a.png", exif=exif)
    upright = np.asarray(ImageOps.exif_transpose(image_module.open(tmp_path / "a.png")))
    np.testing.assert_allclose(read_picture(tmp_path / "a.png").image, upright / 255, atol=1e-6)


def test_a_folder_goes_on_where_it_was(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.png", "b.png"):
        write(tmp_path / "in" / name, scene())
    (tmp_path / "in" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    write(tmp_path / "clean" / "a.png", scene())
    write(tmp_path / "clean" / "b.png", scene())
    write(tmp_path / "clean" / "broken.png", scene())
    command = ["restore", "denoise", str(tmp_path / "in"), "--out", str(tmp_path / "out"), *QUICK]
    command += ["--truth", str(tmp_path / "clean")]
    assert main(command) == 3
    err = capsys.readouterr().err
    assert "failed: broken.png" in err and "2 restored" in err
    assert record(tmp_path / "out" / "a.json")["psnr_db"] > 15
    (tmp_path / "out" / "b.json").unlink()
    (tmp_path / "out" / "b.png").unlink()
    (tmp_path / "in" / "broken.png").unlink()
    times = (tmp_path / "out" / "a.png").stat().st_mtime_ns
    assert main(command) == 0
    assert "1 restored, 1 were there already" in capsys.readouterr().err
    assert (tmp_path / "out" / "a.png").stat().st_mtime_ns == times
    assert main([*command, "--seed", "1"]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main([*command, "--seed", "1", "--overwrite"]) == 0


def test_the_same_command_gives_the_same_bytes(tmp_path: Path) -> None:
    source = write(tmp_path / "in.png", scene())
    for out in ("one", "two"):
        assert main(["restore", "denoise", str(source), "--out", str(tmp_path / out), *QUICK]) == 0
    assert (tmp_path / "one" / "in.png").read_bytes() == (tmp_path / "two" / "in.png").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["paint"], "Use one of denoise, inpaint"),
        ([], "no task was given"),
        (["denoise", "IN", "--device", "tpu9"], "--device tpu9"),
        (["denoise", "IN", "--sigma", "300"], "--sigma 300"),
        (["denoise", "missing.png"], "missing.png does not exist"),
        (["denoise", "FOLDER"], "is the folder of the input"),
        (["denoise", "EMPTY"], "holds no pictures"),
        (["inpaint", "IN"], "--mask FILE"),
        (["inpaint", "IN", "--mask", "ALL"], "at least 2 % are needed"),
        (["inpaint", "IN", "--mask", "SMALL"], "Make them equal"),
        (["deblur", "IN", "--kernel", "box:3"], "is no kernel"),
        (["deblur", "IN", "--kernel", "gaussian:x"], "is not understood"),
        (["deblur", "IN", "--kernel", "unknown:8"], "must be odd"),
        (["deblur", "IN", "--kernel", "motion:60,10"], "at least, this has"),
        (["dejpeg", "IN"], "is not a JPEG"),
        (["dejpeg", "IN", "--quality", "101"], "--quality 101"),
        (["denoise", "IN", "--method", "prior", "--prior.generator", "ship"], "no generator 'ship'"),
        (["denoise", "IN", "--method", "prior", "--guide", "IN"], "works with --method pairs"),
        (["denoise", "IN", "--pairs.patch-px", "4"], "--pairs.patch-px 4 is out of range"),
        (["denoise", "IN", "--pairs.patch-px", "30"], "is no multiple of 8"),
        (["denoise", "IN", "--pairs.channels", "0"], "--pairs.channels 0"),
        (["denoise", "IN", "--pairs.batch", "0"], "--pairs.batch 0"),
        (["denoise", "IN", "--pairs.draws", "0"], "--pairs.draws 0"),
        (["denoise", "IN", "--pairs.iterations", "-5"], "--pairs.iterations -5"),
        (["denoise", "IN", "--pairs.seconds", "nan"], "--pairs.seconds nan"),
        (["denoise", "IN", "--pairs.learning-rate", "1e9"], "--pairs.learning-rate 1e+09"),
        (["denoise", "IN", "--prior.iterations", "-3"], "--prior.iterations -3"),
        (["denoise", "IN", "--prior.window", "0"], "--prior.window 0"),
        (["denoise", "IN", "--prior.average", "2"], "--prior.average 2"),
        (["denoise", "IN", "--prior.restarts", "0"], "--prior.restarts 0"),
        (["denoise", "IN", "--prior.generator", "ship"], "no generator 'ship'"),
        (["denoise", "IN", "--seed", "-1"], "--seed -1"),
        (["denoise", "IN", "--sigma", "nan"], "--sigma nan"),
        (["denoise", "IN", "--device", "meta"], "--device meta"),
        (["denoise", "SMALL"], "too small to measure its noise"),
        (["denoise", "IN", "--guide", "SMALL", *QUICK], "must show the same pixels"),
        (["denoise", "IN", "--truth", "SMALL", *QUICK], "Pass the picture that belongs to it"),
    ],
)
def test_what_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    places = {
        "IN": write(tmp_path / "in" / "in.png", scene()),
        "FOLDER": tmp_path / "in",
        "EMPTY": tmp_path / "empty",
        "ALL": write(tmp_path / "all.png", np.full((64, 72), 255, np.uint8)),
        "SMALL": write(tmp_path / "small.png", np.zeros((6, 7), np.uint8)),
    }
    places["EMPTY"].mkdir()
    out = tmp_path / ("in" if "FOLDER" in arguments else "out")
    more = ["--out", str(out)] if len(arguments) > 1 else []
    assert main(["restore", *(str(places.get(word, word)) for word in arguments), *more]) == 2
    err = capsys.readouterr().err
    assert said in err and "Traceback" not in err
    assert not list(tmp_path.glob("out/*.png"))


def test_an_out_that_is_a_file_is_refused_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restore, "restore_picture", lambda *_, **__: pytest.fail("worked for nothing"))
    source, file = write(tmp_path / "in" / "a.png", scene()), write(tmp_path / "file.png", scene())
    for out, said in ((file, f"--out {file} is a file"), (file / "below", "is a file, not a folder")):
        assert main(["restore", "denoise", str(source), "--out", str(out), *QUICK]) == 2
        assert said in capsys.readouterr().err


def test_one_picture_that_cannot_be_does_not_stop_its_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    holes = np.where(scene()[..., :1] > 200, 0, 255).astype(np.uint8)
    for name, image in (
        ("a", np.dstack([scene(), holes])),
        ("b", scene()),
        ("c", np.dstack([scene(), holes])),
    ):
        write(tmp_path / "in" / f"{name}.png", image)
    command = ["restore", "inpaint", str(tmp_path / "in"), "--out", str(tmp_path / "out"), *QUICK]
    assert main(command) == 3
    err = capsys.readouterr().err
    assert "failed: b.png" in err and "has no transparent pixels" in err and "2 restored" in err
    assert sorted(path.name for path in (tmp_path / "out").glob("*.png")) == ["a.png", "c.png"]


@pytest.mark.parametrize("overwrite", [[], ["--overwrite"]])
def test_a_kill_between_the_files_of_a_picture_does_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overwrite: list[str]
) -> None:
    names = ("a.png",) if overwrite else ("a.png", "b.png")
    for name in names:
        write(tmp_path / "in" / name, scene())
    command = ["restore", "denoise", str(tmp_path / "in"), "--out", str(tmp_path / "out"), *QUICK]
    if overwrite:  # what is there is of another seed, and must not be taken for the new
        assert main([*command, "--seed", "1"]) == 0

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    for writer in ("write_json", "write_bytes"):
        with monkeypatch.context() as patch:
            patch.setattr(folder, writer, killed)
            main([*command, *overwrite])
    assert main(command) == 0
    assert main([*command[:4], str(tmp_path / "fresh"), *QUICK]) == 0
    for name in names:
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "fresh" / name).read_bytes()


@pytest.mark.parametrize("method", ["pairs", "prior"])
def test_no_noise_is_nothing_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    for name in ("denoise_by_pairs", "solve_in_tiles"):
        monkeypatch.setattr(restore, name, lambda *_, **__: pytest.fail("worked for nothing"))
    image = np.random.default_rng(0).integers(0, 65536, (5, 21, 4)).astype(np.uint16)
    source, out = write(tmp_path / "in.png", image), tmp_path / "out"
    command = ["restore", "denoise", str(source), "--out", str(out), "--sigma", "0", "--method", method]
    assert main([*command, "--threads", "1"]) == 0
    np.testing.assert_array_equal(cv2.imread(str(out / "in.png"), cv2.IMREAD_UNCHANGED), image)
    assert record(out / "in.json")["sigma"] == 0


def test_truth_given_later_measures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write(tmp_path / "in" / "a.png", scene())
    clean = write(tmp_path / "a.png", np.clip(scene() + 2.0, 0, 255).astype(np.uint8))
    command = ["restore", "denoise", str(source), "--out", str(tmp_path / "out"), "--sigma", "9", *QUICK]
    fresh = [*command[:4], str(tmp_path / "fresh"), *command[5:], "--truth", str(clean)]
    assert main(command) == 0 and main(fresh) == 0
    before = record(tmp_path / "out" / "a.json")
    assert "psnr_db" not in before and before["threads"] == 1
    capsys.readouterr()
    assert main([*command, "--truth", str(clean)]) == 0
    assert "1 were there already (1 of them measured now)" in capsys.readouterr().err
    late, early = (record(tmp_path / name / "a.json") for name in ("out", "fresh"))
    names = ("psnr_db", "psnr_of_input_db", "truth_sha256", "input_sha256")
    assert [late[name] for name in names] == [early[name] for name in names]
    assert main([*command, "--truth", str(clean)]) == 0
    assert "measured" not in capsys.readouterr().err


@pytest.mark.parametrize("method", ["pairs", "prior"])
def test_the_log_has_psnr_by_iteration(tmp_path: Path, method: str) -> None:
    source = write(tmp_path / "in" / "a.png", scene())
    command = ["restore", "denoise", str(source), "--out", str(tmp_path / "out"), "--truth", str(source)]
    command += [
        "--sigma",
        "9",
        "--method",
        method,
        *QUICK,
        "--pairs.iterations",
        "40",
        "--prior.iterations",
        "40",
    ]
    assert main(command) == 0
    log = record(tmp_path / "out" / "a.json")["log"]
    assert [line["iteration"] for line in log] == sorted({line["iteration"] for line in log})
    assert log[-1]["iteration"] == 40 and len(log) >= 4
    assert all(5 < line["psnr_db"] < 60 and line["loss"] >= 0 for line in log)


def test_generators_are_named_without_torch() -> None:
    assert tuple(GENERATORS) == GENERATOR_NAMES


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["restore", "--help"]) == 0
    assert "dejpeg" in capsys.readouterr().out


def test_the_preview_is_two_pixels_a_character() -> None:
    from rich.console import Console

    from walkaround.commands.restore import _board, preview
    from walkaround.restore.progress import Told

    image = np.zeros((40, 80, 3), np.float32)
    image[:20] = (1, 0, 0)
    console = Console(width=60, record=True, file=io.StringIO())
    console.print(_board("a.png (1 of 2)", Told(share=0.5, loss=0.1, picture=lambda: image)))
    shown = console.export_text().splitlines()
    assert shown[0].startswith("a.png (1 of 2)  50%") and shown[1] == "━" * 48 and shown[2] == "▀" * 48
    lines = preview(image).plain.splitlines()
    assert len(lines) == 12 and set(lines[0]) == {"▀"} and len(lines[0]) == 48
    assert preview(image[..., :1]).spans[0].style == "rgb(255,255,255) on rgb(255,255,255)"
