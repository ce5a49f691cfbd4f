"""Render a capture and write it with its truth."""

from __future__ import annotations

import dataclasses
import io
import json
import logging
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from walkaround.errors import OutputError, UsageError
from walkaround.io.atomic import atomic_path, output_error, write_bytes, write_json
from walkaround.io.locks import locked
from walkaround.io.video_write import Mp4Writer
from walkaround.simulate.motion import CameraPath, make_path
from walkaround.simulate.options import SimulateOptions
from walkaround.simulate.render import RenderedFrame, render_frame
from walkaround.simulate.scene import Scene, bake_light, make_scene
from walkaround.types import ByteArray, FloatArray, Progress, no_progress

logger = logging.getLogger(__name__)
_VERSION = 6
_FOLDERS = {"images": ".png", "masks": ".png", "depth": ".npz"}
_SCRATCH = ".simulate.tmp"


@dataclass(frozen=True, kw_only=True)
class SimulatedCapture:
    """Where a simulated capture lies."""

    truth_dir: Path
    """Holds cameras.json, images, masks, depth, mesh.ply: the truth format."""
    video_path: Path
    image_dir: Path
    mesh_path: Path


def simulate_capture(
    out: Path,
    *,
    options: SimulateOptions,
    overwrite: bool = False,
    progress: Progress = no_progress,
    num_threads: int = 2,
) -> SimulatedCapture:
    """Render a walk-around and write ``capture.mp4`` with its truth into ``out``.

    A finished capture with the same options is kept as it is. Everything is rendered into a hidden folder
    and moved when complete, ``cameras.json`` last, so an interrupted run leaves nothing that looks finished.
    The world is the object's own frame, z up, metres, also when the object moves.

    Parameters
    ----------
    overwrite
        Replace a capture that was made with other options.

    Raises
    ------
    UsageError
        An option makes no sense, or ``out`` holds something else and ``overwrite`` is False.
    OutputError
        ``out`` cannot be written, or another process simulates into it.
    """
    options.check()
    paths = _paths(out)
    if _finished(paths, options):
        logger.info("kept the finished capture in %s", out)
        return paths
    if not overwrite:
        _refuse_other(paths, options)
    start = time.perf_counter()
    message = f"Another walkaround is simulating into {out}. Wait until it ends, or stop it."
    with locked(out / ".simulate.lock", wait=False, message=message):
        scratch = _paths(out / _SCRATCH)
        try:
            _make_empty(scratch.truth_dir)
            _render(scratch, options, progress, num_threads)
        except BaseException:
            shutil.rmtree(scratch.truth_dir, ignore_errors=True)
            raise
        _install(scratch, paths)
    logger.info("simulate: %.1f s", time.perf_counter() - start)
    return paths


def _paths(out: Path) -> SimulatedCapture:
    return SimulatedCapture(
        truth_dir=out, video_path=out / "capture.mp4", image_dir=out / "images", mesh_path=out / "mesh.ply"
    )


def _render(paths: SimulatedCapture, options: SimulateOptions, progress: Progress, num_threads: int) -> None:
    """Write a whole capture into an empty folder."""
    scene = make_scene(options)
    focal_px = options.focal_35mm / 36.0 * max(options.size)
    K = np.array(
        [[focal_px, 0.0, options.size[0] / 2], [0.0, focal_px, options.size[1] / 2], [0.0, 0.0, 1.0]]
    )
    path = make_path(options, scene.object_mesh.vertices, focal_px)
    _write_mesh(paths.mesh_path, scene)
    records = _write_frames(paths, scene, path, K, progress, num_threads)
    truth = {
        "axes": "OpenCV",
        "units": "m",
        "pixel_origin": "centre of the top-left pixel is (0.5, 0.5)",
        "simulate_version": _VERSION,
        "options": dataclasses.asdict(options),
        "frames": records,
    }
    write_json(paths.truth_dir / "cameras.json", truth)


def _read_truth(out: Path) -> dict[str, Any]:
    """Return what ``cameras.json`` holds, empty when it is missing or not an object."""
    try:
        record = json.loads((out / "cameras.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _plain_options(options: SimulateOptions) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(options)))
    return plain


def _finished(paths: SimulatedCapture, options: SimulateOptions) -> bool:
    record = _read_truth(paths.truth_dir)
    try:
        same = {**_plain_options(SimulateOptions()), **record["options"]} == _plain_options(options)
        names = [str(frame["image"]) for frame in record["frames"]]
    except (KeyError, TypeError):
        return False
    files = [paths.video_path, paths.mesh_path, *(paths.image_dir / name for name in names)]
    for name in names:
        stem = Path(name).stem
        files += [paths.truth_dir / "masks" / f"{stem}.png", paths.truth_dir / "depth" / f"{stem}.npz"]
    there = all(path.is_file() for path in files)
    return bool(same and there and record.get("simulate_version") == _VERSION)


def _refuse_other(paths: SimulatedCapture, options: SimulateOptions) -> None:
    """Raise UsageError when ``out`` holds anything but a damaged capture of these options."""
    out = paths.truth_dir
    remedy = "Pass --overwrite to replace it, or choose another folder."
    if not (out / "cameras.json").exists():
        there = [name for name in (*_FOLDERS, "capture.mp4", "mesh.ply") if (out / name).exists()]
        if there and not (out / _SCRATCH).exists():  # else: a run that was killed while it moved its files
            raise UsageError(f"{out} holds {', '.join(there)} but no finished capture. {remedy}")
        return
    record = _read_truth(out)
    old = record.get("options")
    if not isinstance(old, dict) or "simulate_version" not in record:
        raise UsageError(f"{out} holds a cameras.json that walkaround simulate did not write. {remedy}")
    new = _plain_options(options)
    differing = [
        f"{name} {old.get(name)!r}, not {new.get(name)!r}"
        for name in {**new, **old}
        if old.get(name) != new.get(name)
    ]
    if record["simulate_version"] != _VERSION:
        differing.append(f"version {record['simulate_version']} of the renderer, not {_VERSION}")
    if differing:
        raise UsageError(f"{out} holds a capture made with {'; '.join(differing)}. {remedy}")


def _make_empty(folder: Path) -> None:
    try:
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
    except OSError as error:
        raise output_error(folder, error) from error


def _install(scratch: SimulatedCapture, paths: SimulatedCapture) -> None:
    """Remove what an earlier simulation wrote, and nothing else, and move the new files to their place."""
    out = paths.truth_dir
    try:
        (out / "cameras.json").unlink(missing_ok=True)
        for folder, ending in _FOLDERS.items():
            (out / folder).mkdir(exist_ok=True)
            for path in (out / folder).glob(f"[0-9][0-9][0-9]*{ending}"):
                path.unlink()
            for path in sorted((scratch.truth_dir / folder).iterdir()):
                path.replace(out / folder / path.name)
        scratch.mesh_path.replace(paths.mesh_path)
        scratch.video_path.replace(paths.video_path)
        (scratch.truth_dir / "cameras.json").replace(out / "cameras.json")
        shutil.rmtree(scratch.truth_dir)
    except OSError as error:
        raise output_error(out, error) from error


def _frame_rate(options: SimulateOptions) -> Fraction:
    return (Fraction(options.num_frames) / Fraction(options.duration_s)).limit_denominator(1001)


def _write_frames(
    paths: SimulatedCapture,
    scene: Scene,
    path: CameraPath,
    K: FloatArray,
    progress: Progress,
    num_threads: int,
) -> list[dict[str, object]]:
    o = scene.options
    rate = _frame_rate(o)
    light = bake_light(scene, np.eye(3), min(32, max(6, max(o.size) // 30)))

    def render(index: int) -> RenderedFrame:
        time_s = float(index / rate)
        here = bake_light(scene, path.object_from_room(time_s), 6) if o.moving_object else light
        frame = render_frame(scene, path, K, time_s, index, here)
        _write_frame(paths.truth_dir, f"{index + 1:03d}", frame)
        return frame

    records: list[dict[str, object]] = []
    with (
        atomic_path(paths.video_path) as temporary,
        ThreadPoolExecutor(max(1, num_threads)) as pool,
        Mp4Writer(temporary, o.size, rate, crf=o.crf) as encoder,
    ):
        for first in range(0, o.num_frames, 8):  # bounded: eight frames in memory
            numbers = range(first, min(first + 8, o.num_frames))
            for index, frame in zip(numbers, pool.map(render, numbers), strict=True):
                encoder.add(frame.image_srgb)
                records.append(_record(index, frame, K, o, float(index / rate)))
                progress((index + 1) / o.num_frames)
    return records


def _record(
    index: int, frame: RenderedFrame, K: FloatArray, options: SimulateOptions, time_s: float
) -> dict[str, object]:
    record: dict[str, object] = {
        "image": f"{index + 1:03d}.png",
        "K": K.tolist(),
        "cam_from_world": frame.cam_from_object.tolist(),
        "width": options.size[0],
        "height": options.size[1],
        "source_index": index,
        "timestamp_s": time_s,
    }
    if options.moving_object:
        record["cam_from_room"] = frame.cam_from_room.tolist()
    return record


def _write_frame(out: Path, name: str, frame: RenderedFrame) -> None:
    _write_png(out / "images" / f"{name}.png", np.ascontiguousarray(frame.image_srgb[..., ::-1]))
    _write_png(out / "masks" / f"{name}.png", frame.mask.astype(np.uint8) * 255)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, depth=frame.depth)
    write_bytes(out / "depth" / f"{name}.npz", buffer.getvalue())


def _write_png(path: Path, values: ByteArray) -> None:
    ok, data = cv2.imencode(".png", values, [cv2.IMWRITE_PNG_COMPRESSION, 2])
    if not ok:
        raise OutputError(f"{path} could not be encoded as PNG.")
    write_bytes(path, data.tobytes())


def _write_mesh(path: Path, scene: Scene) -> None:
    """Binary little-endian PLY in double precision: vertices with normals, triangles."""
    vertices = np.empty(len(scene.object_mesh.vertices), dtype=[("p", "<f8", 3), ("n", "<f4", 3)])
    vertices["p"], vertices["n"] = scene.object_mesh.vertices, scene.object_mesh.normals
    faces = np.empty(len(scene.object_mesh.faces), dtype=[("count", "u1"), ("index", "<i4", 3)])
    faces["count"], faces["index"] = 3, scene.object_mesh.faces
    lines = ["ply", "format binary_little_endian 1.0", f"element vertex {len(vertices)}"]
    lines += [f"property double {a}" for a in "xyz"] + [f"property float n{a}" for a in "xyz"]
    lines += [f"element face {len(faces)}", "property list uchar int vertex_indices", "end_header", ""]
    write_bytes(path, "\n".join(lines).encode() + vertices.tobytes() + faces.tobytes())
