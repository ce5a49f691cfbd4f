"""COLMAP files: what is written is the classic format, and importing pycolmap breaks nothing."""

from __future__ import annotations

import signal
import struct
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from walkaround.errors import FormatError, OutputError
from walkaround.geometry import project, transform_points
from walkaround.io.colmap import read_sparse_model, write_sparse_model
from walkaround.types import Camera, Frame, SparseModel, View

CAMERAS = (
    Camera(model="SIMPLE_RADIAL", width=640, height=480, params=(500.0, 320.0, 240.0, 0.01)),
    Camera(model="OPENCV", width=320, height=240, params=(260.0, 261.0, 160.0, 120.0, 0.01, 0.0, 0.001, 0.0)),
)


def make_model(num_views: int = 4, num_points: int = 30) -> SparseModel:
    rng = np.random.default_rng(1)
    points = rng.uniform(-0.4, 0.4, (num_points, 3))
    views, observations = [], []
    for i in range(num_views):
        cam_from_world = np.eye(4)
        angle = 0.2 * i
        cam_from_world[:3, :3] = [
            [np.cos(angle), 0, np.sin(angle)],
            [0, 1, 0],
            [-np.sin(angle), 0, np.cos(angle)],
        ]
        cam_from_world[:3, 3] = [0.0, 0.0, 3.0]
        frame = Frame(index=i + 1, image=f"{i + 1:03d}.jpg", source_index=i, timestamp_s=i / 3)
        views.append(View(frame=frame, camera=CAMERAS[i % 2], cam_from_world=cam_from_world))
        observations.append(np.sort(rng.choice(num_points, num_points // 2, replace=False)).astype(np.int64))
    return SparseModel(
        views=tuple(views),
        points_in_world=points,
        colors=rng.integers(0, 255, (num_points, 3)).astype(np.uint8),
        errors_px=rng.uniform(0.1, 1.0, num_points),
        observations=tuple(observations),
    )


def test_round_trip(tmp_path: Path) -> None:
    model = make_model()
    write_sparse_model(tmp_path, model)
    again = read_sparse_model(tmp_path, tuple(view.frame for view in model.views))
    np.testing.assert_allclose(again.points_in_world, model.points_in_world)
    np.testing.assert_array_equal(again.colors, model.colors)
    np.testing.assert_allclose(again.errors_px, model.errors_px)
    for mine, theirs in zip(model.views, again.views, strict=True):
        assert mine.frame == theirs.frame and mine.camera == theirs.camera
        np.testing.assert_allclose(mine.cam_from_world, theirs.cam_from_world, atol=1e-12)
    for seen, seen_again in zip(model.observations, again.observations, strict=True):
        np.testing.assert_array_equal(seen, seen_again)


def test_bytes_are_the_same_each_time_and_files_are_the_classic_three(tmp_path: Path) -> None:
    names = ["cameras.bin", "images.bin", "points3D.bin"]
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        write_sparse_model(tmp_path / folder, make_model())
        assert sorted(path.name for path in (tmp_path / folder).iterdir()) == names
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_plain_parser_of_the_classic_format_reads_it(tmp_path: Path) -> None:
    """The layout of COLMAP 3.x's ``read_write_model.py``, spelled out."""
    model = make_model()
    write_sparse_model(tmp_path, model)
    data = (tmp_path / "cameras.bin").read_bytes()
    assert struct.unpack_from("<Q", data) == (2,)
    assert struct.unpack_from("<iiQQ4d", data, 8) == (1, 2, 640, 480, 500.0, 320.0, 240.0, 0.01)
    data, offset = (tmp_path / "images.bin").read_bytes(), 8
    assert struct.unpack_from("<Q", data) == (len(model.views),)
    for view, seen in zip(model.views, model.observations, strict=True):
        image_id, *pose, camera_id = struct.unpack_from("<i7di", data, offset)
        offset += 64
        end = data.index(b"\0", offset)
        assert data[offset:end].decode() == view.frame.image and image_id == view.frame.index
        assert camera_id == 1 + CAMERAS.index(view.camera)
        np.testing.assert_allclose(pose[4:], view.cam_from_world[:3, 3])
        (count,) = struct.unpack_from("<Q", data, end + 1)
        offset = end + 9 + 24 * count
        assert count == len(seen)
        xy_id = np.frombuffer(data, dtype="<f8,<f8,<i8", count=count, offset=end + 9)
        pixels = project(view.camera, transform_points(view.cam_from_world, model.points_in_world[seen]))
        np.testing.assert_allclose(np.column_stack([xy_id["f0"], xy_id["f1"]]), pixels)
        np.testing.assert_array_equal(xy_id["f2"], seen + 1)
    assert offset == len(data)
    data, offset = (tmp_path / "points3D.bin").read_bytes(), 8
    for index, xyz in enumerate(model.points_in_world):
        point_id, *rest = struct.unpack_from("<Q3d3BdQ", data, offset)
        assert point_id == index + 1 and rest[:3] == list(xyz) and rest[3:6] == list(model.colors[index])
        offset += 51 + 8 * rest[7]
    assert offset == len(data)


@pytest.mark.parametrize("content", [b"", b"not a model at all" * 10])
def test_broken_models_are_format_errors(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(FormatError, match=r"cameras\.bin"):
        read_sparse_model(tmp_path)
    write_sparse_model(tmp_path, make_model())
    (tmp_path / "images.bin").write_bytes(content)
    with pytest.raises(FormatError):
        read_sparse_model(tmp_path)


@pytest.mark.parametrize("name", ["cameras.bin", "images.bin", "points3D.bin"])
def test_truncated_models_are_format_errors(tmp_path: Path, name: str) -> None:
    write_sparse_model(tmp_path, make_model())
    data = (tmp_path / name).read_bytes()
    for size in (0, 4, len(data) // 2, len(data) - 3):
        (tmp_path / name).write_bytes(data[:size])
        with pytest.raises(FormatError):
            read_sparse_model(tmp_path)


def test_an_unwritable_folder_is_an_output_error(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    with pytest.raises(OutputError):
        write_sparse_model(blocked / "sparse", make_model())


PNG = """
    from walkaround.io.colmap import load_pycolmap
    load_pycolmap()
    import zlib, cv2, numpy as np, pathlib, sys
    data = bytes(range(256)) * 1000
    assert zlib.decompress(zlib.compress(data)) == data
    image = np.random.default_rng(0).integers(0, 255, (200, 300, 3)).astype(np.uint8)
    path = pathlib.Path(sys.argv[1])
    assert cv2.imwrite(str(path), image) and (cv2.imread(str(path)) == image).all()
    print("fine")
"""


def test_png_and_zlib_work_after_pycolmap(tmp_path: Path) -> None:
    command = [sys.executable, "-c", textwrap.dedent(PNG), str(tmp_path / "a.png")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and done.stdout.strip() == "fine", done.stderr


WAIT = """
    import signal, sys, time
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    from walkaround.io.colmap import load_pycolmap
    load_pycolmap()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    print("ready", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGINT, None)])
def test_signals_end_the_process_cleanly(number: signal.Signals, code: int | None) -> None:
    command = [sys.executable, "-c", textwrap.dedent(WAIT)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().strip() == "ready"
            time.sleep(0.1)
            process.send_signal(number)
            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    if code is None:
        assert "KeyboardInterrupt" in errors
    else:
        assert process.returncode == code and errors == ""


def test_only_one_module_imports_pycolmap() -> None:
    source = Path(__file__).parent.parent / "src" / "walkaround"
    guilty = [
        path.relative_to(source).as_posix()
        for path in source.rglob("*.py")
        if any(
            line.split()[:2] in (["import", "pycolmap"], ["from", "pycolmap"])
            for line in path.read_text(encoding="utf-8").splitlines()
        )
    ]
    assert guilty == ["io/colmap.py"]
