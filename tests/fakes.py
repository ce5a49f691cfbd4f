"""Stages that take milliseconds: same signatures and files as the real ones, content from their inputs.

Every file's content depends on what the stage read and on its options, so a test that compares two
folders sees a stage that ran with the wrong input.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from walkaround.types import Camera, CaptureInfo, Frame, PointCloud, SparseModel, View

WIDTH, HEIGHT, NUM_FRAMES = 96, 72, 10

calls: list[str] = []
"""Names of the stages that ran, in order."""
scores: dict[str, dict[str, float]] = {}
"""A test puts scores here to make a stage fail a rule."""


@dataclass
class Result:
    scores: dict[str, float]
    notes: dict[str, Any] = field(default_factory=dict)
    frames: tuple[Frame, ...] = ()
    model: Any = None
    warnings: tuple[str, ...] = ()
    focal_prior_px: float | None = 100.0


def _digest(*parts: Any) -> int:
    hasher = hashlib.sha256()
    for part in parts:
        if isinstance(part, Path):
            for path in sorted(part.rglob("*")) if part.is_dir() else [part]:
                if path.is_file():
                    hasher.update(path.read_bytes())
        else:
            hasher.update(repr(part).encode())
    return int.from_bytes(hasher.digest()[:4], "big")


def _result(stage: str, **values: Any) -> Result:
    return Result(scores=scores.get(stage, {f"fake_{stage}": 1.0}), **values)


def inspect_capture(source: Path, *, options: Any) -> CaptureInfo:
    return CaptureInfo(
        kind="video",
        sha256=hashlib.sha256(source.read_bytes()).hexdigest(),
        width=WIDTH * 2,
        height=HEIGHT * 2,
        num_frames=100,
        codec="h264",
        frame_rate=10.0,
        duration_s=10.0,
        focal_prior_px=200.0,
        warnings=(f"{source.name} was odd.",),
        scores=scores.get("capture", {"num_source_frames": 100.0, "duration_s": 10.0}),
    )


def extract_frames(
    source: Path, capture: CaptureInfo, image_dir: Path, *, options: Any, progress: Any
) -> Result:
    calls.append("frames")
    rng = np.random.default_rng(_digest(source, options))
    for frame in make_frames():
        image = np.full((HEIGHT, WIDTH, 3), 200, np.uint8)
        cv2.circle(image, (WIDTH // 2, HEIGHT // 2), 24, [int(x) for x in rng.integers(0, 160, 3)], -1)
        cv2.imwrite(str(image_dir / frame.image), image)
        progress(frame.index / NUM_FRAMES)
    return _result("frames", frames=make_frames())


def make_model(frames: tuple[Frame, ...], *, seed: int = 0) -> SparseModel:
    """Cameras on a circle around the origin; the last frame is not registered."""
    views = []
    camera = Camera(
        model="SIMPLE_RADIAL", width=WIDTH, height=HEIGHT, params=(100.0, WIDTH / 2, HEIGHT / 2, 0.0)
    )
    for number, frame in enumerate(frames[:-1]):
        angle = 1.6 * np.pi * number / len(frames)
        centre = np.array([np.cos(angle), np.sin(angle), 0.4])
        forward = -centre / np.linalg.norm(centre)
        right = np.cross(forward, [0.0, 0.0, 1.0])
        right /= np.linalg.norm(right)
        pose = np.eye(4)
        pose[:3, :3] = np.stack([right, np.cross(forward, right), forward])
        pose[:3, 3] = -pose[:3, :3] @ centre
        views.append(View(frame=frame, camera=camera, cam_from_world=pose))
    rng = np.random.default_rng(seed)
    return SparseModel(
        views=tuple(views),
        points_in_world=rng.normal(0, 0.1, (50, 3)),
        colors=rng.integers(0, 255, (50, 3)).astype(np.uint8),
        errors_px=np.full(50, 0.5),
        observations=tuple(np.arange(50) for _ in views),
    )


def estimate_cameras(image_dir: Path, frames: tuple[Frame, ...], *, scratch_dir: Path, **rest: Any) -> Result:
    calls.append("cameras")
    assert rest["focal_prior_px"] == 100.0
    (scratch_dir / "database.db").write_bytes(b"scratch")
    seed = _digest(image_dir, rest["options"], rest["seed"])
    return _result("cameras", model=make_model(frames, seed=seed), notes={"attempt": "fake"})


def make_frames() -> tuple[Frame, ...]:
    return tuple(
        Frame(index=index, image=f"{index:03d}.jpg", source_index=index * 10, timestamp_s=float(index))
        for index in range(1, NUM_FRAMES + 1)
    )


def read_sparse_model(folder: Path, frames: tuple[Frame, ...] | None = None) -> SparseModel:
    """Stand for the model on disk: its points say what the files hold."""
    model = make_model(frames or make_frames())
    points = np.repeat([[_digest(folder) / 2**33, 0.0, 0.0]], 50, axis=0)
    return dataclasses.replace(model, points_in_world=points)


def write_depth_maps(
    image_dir: Path, model: SparseModel, depth_dir: Path, confidence_dir: Path, *, options: Any, **_: Any
) -> Result:
    calls.append("depth")
    start = _digest(image_dir, model.points_in_world.tolist(), options) % 1000
    for view in model.views:
        depth = np.zeros((HEIGHT, WIDTH), np.uint16)
        depth[12:60, 24:72] = 9000 + start + np.arange(48)
        name = view.frame.image.replace(".jpg", ".png")
        cv2.imwrite(str(depth_dir / name), depth)
        cv2.imwrite(str(confidence_dir / name), (depth > 0).astype(np.uint8) * 255)
    return _result("depth")


def write_masks(
    image_dir: Path, frames: tuple[Frame, ...], model: SparseModel, depth_dir: Path, mask_dir: Path, **_: Any
) -> Result:
    calls.append("masks")
    for frame in frames:
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        cv2.circle(mask, (WIDTH // 2, HEIGHT // 2), 20 + _digest(depth_dir) % 5, 255, -1)
        cv2.imwrite(str(mask_dir / frame.image.replace(".jpg", ".png")), mask)
    return _result("masks")


def make_cloud(seed: int = 0) -> PointCloud:
    rng = np.random.default_rng(seed)
    normals = rng.normal(size=(2000, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    return PointCloud(
        points_in_world=(normals * 0.2).astype(np.float32),
        colors=(127 + 120 * normals).astype(np.uint8),
        normals=normals.astype(np.float32),
        num_views=np.full(2000, 4, np.uint8),
    )


def write_cloud(
    image_dir: Path, model: SparseModel, depth_dir: Path, mask_dir: Path, ply: Path, pcd: Path, **_: Any
) -> Result:
    calls.append("cloud")
    seed = _digest(image_dir, depth_dir, mask_dir)
    ply.write_bytes(b"ply fake %d\n" % seed)
    pcd.write_bytes(b"pcd fake %d\n" % seed)
    return _result("cloud")


def build_isolated(source: str, root: Path, *, options: Any, progress: Any, **_: Any) -> Any:
    pipeline = importlib.import_module("walkaround.pipeline")
    return pipeline.build_sequence(source, root, options=options, progress=progress)


PATCHES = {
    "walkaround.capture.inspect_capture": inspect_capture,
    "walkaround.frames.extract_frames": extract_frames,
    "walkaround.cameras.estimate_cameras": estimate_cameras,
    "walkaround.io.colmap.read_sparse_model": read_sparse_model,
    "walkaround.depth.write_depth_maps": write_depth_maps,
    "walkaround.masks.write_masks": write_masks,
    "walkaround.cloud.write_cloud": write_cloud,
}
