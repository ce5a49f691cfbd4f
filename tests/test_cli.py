"""The command line: exit codes, what goes to stdout, what an import costs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from walkaround.cli import main

HEAVY = (
    "numpy",
    "cv2",
    "numba",
    "scipy",
    "pycolmap",
    "av",
    "pyarrow",
    "trimesh",
    "embreex",
    "duckdb",
    "torch",
)


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.parametrize(
    "code",
    [
        "import walkaround",
        "import walkaround.cli",
        "from walkaround.cli import main; assert main(['--help']) == 0",
        "from walkaround.cli import main; assert main(['--version']) == 0",
        "from walkaround.cli import main; assert main(['biuld']) == 2",
    ],
)
def test_nothing_heavy_is_imported(code: str) -> None:
    loaded = run_python(f"{code}\nimport sys; print('LOADED', *sys.modules)").split("LOADED")[-1].split()
    stages = [name for name in loaded if name.startswith("walkaround.") and name.count(".") >= 1]
    assert set(stages) <= {"walkaround.cli", "walkaround.errors"}
    assert not {*HEAVY, "tyro", "rich"} & set(loaded)


def test_build_help_loads_no_library_of_a_stage() -> None:
    code = (
        "from walkaround.cli import main\nimport sys\n"
        "try: main(['build', '--help'])\nexcept SystemExit as stop: assert stop.code == 0\n"
        "print('LOADED', *sys.modules)"
    )
    text, loaded = run_python(code).split("LOADED")
    assert not ({*HEAVY, "walkaround.simulate"} - {"numpy"}) & set(loaded.split())
    for option in (
        "--class-label",
        "--num-frames",
        "--seed",
        "--overwrite",
        "--json",
        "--cameras.max-features",
    ):
        assert option in text


def test_the_mask_model_is_a_path(
    tmp_path: Path, fake_stages: ModuleType, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a suffix too: the record keeps the hash of the file, never its name."""
    from walkaround.commands.build import BuildCommand
    from walkaround.commands.console import parse

    opened: list[Path] = []
    monkeypatch.setattr("walkaround.masks.onnx.load_model", opened.append)
    model = tmp_path / "a private name"
    model.write_bytes(b"abc")
    arguments = [str(source), "--out", str(tmp_path / "root"), "--masks.model", str(model)]
    assert parse(BuildCommand, "build", arguments).masks.model == model
    assert main(["build", *arguments]) == 0
    assert opened == [model]
    (record,) = (tmp_path / "root" / "unlabelled").glob("*/sequence.json")
    assert json.loads(record.read_text())["options"]["masks"]["model"].startswith("sha256:ba7816bf")


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert "build" in capsys.readouterr().out
    assert main([]) == 2
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.endswith("walkaround 0.1.0\n")


def test_an_unknown_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["biuld"]) == 2
    assert "Did you mean 'build'?" in capsys.readouterr().err


def test_python_dash_m() -> None:
    command = [sys.executable, "-m", "walkaround", "--version"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.startswith(
        "walkaround "
    )


def test_an_accepted_build(
    fake_stages: ModuleType, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [
        "build",
        str(source),
        "--out",
        str(tmp_path / "root"),
        "--class-label",
        "mug",
        "--num-frames",
        "12",
    ]
    assert main(command) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert "accepted: 9 of 10 frames registered" in err and "report.html" in err and "cameras: " in err


def test_json_prints_the_record_alone(
    fake_stages: ModuleType, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["build", str(source), "--out", str(tmp_path / "root"), "--json"]) == 0
    out, _ = capsys.readouterr()
    folder = next((tmp_path / "root" / "unlabelled").iterdir())
    assert json.loads(out) == json.loads((folder / "sequence.json").read_text())


def test_a_rejected_build(
    fake_stages: ModuleType, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_stages.scores["frames"] = {"motion_px": 0.0}
    command = ["build", str(source), "--out", str(tmp_path / "root")]
    assert main(command) == 3
    err = capsys.readouterr().err
    assert "rejected: 10 frames kept, no cameras estimated" in err
    assert "reason still_video: Nothing moves in the video" in err
    assert main(command) == 3
    assert fake_stages.calls == ["frames"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--class-label", "../x"], "--class-label"),
        (["--class-label", ""], "it is empty"),
        (["--classes", "missing.csv"], "--classes"),
        (["--num-frames", "12", "--frames.num-frames", "30"], "--num-frames 12 and --frames.num-frames 30"),
        (["--num-frames", "12", "--frames.num_frames=9"], "--num-frames 12 and --frames.num-frames 9"),
    ],
)
def test_wrong_usage(
    fake_stages: ModuleType,
    source: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    said: str,
) -> None:
    assert main(["build", str(source), "--out", str(tmp_path / "root"), *arguments]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "root").exists()


def test_equal_numbers_of_frames_are_no_contradiction(
    fake_stages: ModuleType, source: Path, tmp_path: Path
) -> None:
    both = ["--num-frames", "12", "--frames.num-frames", "12"]
    assert main(["build", str(source), "--out", str(tmp_path / "root"), *both]) == 0


def test_a_rejection_before_any_frame_is_kept(
    fake_stages: ModuleType, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_stages.scores["capture"] = {"num_source_frames": 1.0}
    assert main(["build", str(source), "--out", str(tmp_path / "root")]) == 3
    err = capsys.readouterr().err
    assert "rejected: no frames kept; the input has 100 frames" in err
    assert "reason too_few_frames" in err


@pytest.mark.parametrize("below", ["", "/deeper"])
def test_out_that_is_a_file(
    fake_stages: ModuleType, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], below: str
) -> None:
    (tmp_path / "root").write_text("")
    for command in (["build", str(source), "--out"], ["simulate"]):
        assert main([*command, str(tmp_path / "root") + below]) == 2
        err = capsys.readouterr().err
        assert f"{tmp_path / 'root'} is a file, not a folder. Choose another --out" in err
        assert "Errno" not in err


@pytest.mark.parametrize(
    "arguments", [["build"], ["build", "x", "--out", "y", "--seed", "z"], ["build", "--wrong"]]
)
def test_tyro_says_what_is_wrong(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert capsys.readouterr().err


@pytest.mark.parametrize("content", [None, b"", b"This is text, not a video.\n" * 50])
def test_unreadable_input(tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None) -> None:
    source = tmp_path / "Film mit Ümlaut.mp4"
    if content is not None:
        source.write_bytes(content)
    assert main(["build", str(source), "--out", str(tmp_path / "root")]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ") and "Traceback" not in err
    assert not (tmp_path / "root").exists()


def test_ctrl_c(
    fake_stages: ModuleType,
    source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    command = ["build", str(source), "--out", str(tmp_path / "root")]
    with monkeypatch.context() as patch:
        patch.setattr("walkaround.depth.write_depth_maps", interrupt)
        assert main(command) == 130
    assert "the same command continues" in capsys.readouterr().err
    fake_stages.calls.clear()
    assert main(command) == 0
    assert fake_stages.calls == ["depth", "masks", "cloud"]


def test_ctrl_c_while_simulating(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("walkaround.simulate.write.render_frame", interrupt)
    command = ["simulate", str(tmp_path / "out"), "--num-frames", "2", "--size", "64", "48"]
    assert main(command) == 130
    err = capsys.readouterr().err
    assert "interrupted; nothing was written" in err and "stage" not in err
    assert list(tmp_path.iterdir()) == []


def test_a_reader_that_leaves_early() -> None:
    code = f"{sys.executable} -m walkaround --help | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", code], capture_output=True, text=True, check=False, env=dict(os.environ)
    )
    assert "Traceback" not in done.stderr


def test_threads_hold_for_opencv_too(
    fake_stages: ModuleType, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import cv2

    seen: list[int] = []
    write_cloud = fake_stages.write_cloud
    monkeypatch.setattr(
        "walkaround.cloud.write_cloud",
        lambda *files, **rest: seen.append(cv2.getNumThreads()) or write_cloud(*files, **rest),
    )
    before = cv2.getNumThreads()
    assert main(["build", str(source), "--out", str(tmp_path / "root"), "--threads", "1"]) == 0
    assert seen == [1] and cv2.getNumThreads() == before
