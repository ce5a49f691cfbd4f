"""Time and accuracy of the depth stage alone: ``python benchmarks/depth.py --truth DIR --repeat 3``.

DIR is a truth folder (docs/format.md) with images and depth. The stage gets the true cameras and sparse
points sampled from the true depth, so nothing but stereo is measured. ``--views`` and ``--scale`` take fewer
views and smaller images, to see how the cost grows. The first, unmeasured run warms Numba's cache.
"""

from __future__ import annotations

import os
import resource
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import tyro
from accuracy import commit, machine

from walkaround import __version__
from walkaround.depth import DepthOptions, write_depth_maps
from walkaround.geometry import normalised_rays, project, transform_points
from walkaround.io.depth import read_depth
from walkaround.quality.truth import read_truth
from walkaround.types import Camera, Float32Array, FloatArray, Frame, SparseModel, View


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Measure the depth stage."""

    truth: Path
    """Truth folder: cameras.json, images/, depth/*.npz."""
    repeat: int = 1
    """Measured runs; the median is printed, and the range."""
    views: tuple[int, ...] = (0,)
    """Take this many neighbouring views; 0 takes all. Several numbers print a line each."""
    scale: tuple[float, ...] = (1.0,)
    """Shrink the images by this factor. Several numbers print a line each."""
    points: int = 3000
    """Sparse points sampled from the true depth of all views together."""
    threads: int = 2
    """Threads of the stage."""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A folder of images, its model, and the true depth in the model's units."""

    folder: Path
    model: SparseModel
    depths: tuple[Float32Array, ...]

    @property
    def megapixels(self) -> float:
        return sum(view.camera.width * view.camera.height for view in self.model.views) / 1e6


def main(arguments: Arguments) -> None:
    """Print one line for each size of the problem."""
    print(f"machine: {machine()}; load {os.getloadavg()[0]:.1f}; {arguments.threads} threads; "
          f"walkaround {__version__}, commit {commit()}")  # fmt: skip
    print(
        f"{'views':>5} {'size':>10} {'wall s':>22} {'CPU s':>7} {'wall/MPx':>9} {'CPU/MPx':>8} {'cover':>6}"
        f" {'median %':>9} {'in 1 %':>7} {'peak GB':>8}"
    )
    for count in arguments.views:
        for scale in arguments.scale:
            with tempfile.TemporaryDirectory() as scratch:
                scene = load_scene(arguments, count, scale, Path(scratch))
                measure(arguments, scene, Path(scratch))


def measure(arguments: Arguments, scene: Scene, scratch: Path) -> None:
    """Run the stage and print its line. Peak memory only grows: order sizes from small to large."""
    walls, cpus = [], []
    for number in range(arguments.repeat + 1):
        before, start = os.times(), time.perf_counter()
        write_depth_maps(
            scene.folder, scene.model, scratch / "depth", scratch / "confidence", options=DepthOptions(),
            num_threads=arguments.threads,
        )  # fmt: skip
        after = os.times()
        if number:
            walls.append(time.perf_counter() - start)
            cpus.append(after.user + after.system - before.user - before.system)
    cover, median, near = accuracy(scene, scratch / "depth")
    camera = scene.model.views[0].camera
    wall, cpu = statistics.median(walls), statistics.median(cpus)
    spread = f"{wall:.2f} ({min(walls):.2f}-{max(walls):.2f})"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{len(scene.model.views):5d} {camera.width:5d}x{camera.height:<4d} {spread:>22} {cpu:7.2f}"
        f" {wall / scene.megapixels:9.2f} {cpu / scene.megapixels:8.2f} {cover:6.3f} {100 * median:9.3f}"
        f" {near:7.3f} {peak:8.2f}",
        flush=True,
    )


def accuracy(scene: Scene, folder: Path) -> tuple[float, float, float]:
    """Over the object's pixels: share with depth, median relative error, share of them within 1 %."""
    covered, total, errors = 0, 0, []
    for view, truth in zip(scene.model.views, scene.depths, strict=True):
        found, valid = read_depth(folder / f"{Path(view.frame.image).stem}.png")
        both = valid & (truth > 0)
        total += int((truth > 0).sum())
        covered += int(both.sum())
        errors.append(np.abs(found[both] - truth[both]) / truth[both])
    error = np.concatenate(errors)
    return covered / max(total, 1), float(np.median(error)), float((error < 0.01).mean())


def load_scene(arguments: Arguments, count: int, scale: float, scratch: Path) -> Scene:
    """Shrink the images, move the origin onto the object and make the orbit's radius 1."""
    truth = read_truth(arguments.truth)
    known = [frame for frame in truth.frames if frame.K is not None and truth.depth(frame) is not None]
    known = known[: count or None]
    if len(known) < 2:
        sys.exit(f"{arguments.truth} has fewer than two frames with K and depth.")
    folder = scratch / "images"
    folder.mkdir()
    views, depths = [], []
    for number, frame in enumerate(known):
        image = cv2.imread(str(arguments.truth / "images" / frame.image))
        depth = truth.depth(frame)
        if image is None or depth is None or frame.K is None:
            sys.exit(f"{frame.image} of {arguments.truth} cannot be read.")
        K = frame.K
        camera = Camera(
            model="PINHOLE", width=image.shape[1], height=image.shape[0],
            params=(K[0, 0], K[1, 1], K[0, 2], K[1, 2]),
        )  # fmt: skip
        if scale != 1.0:
            size = round(camera.width * scale), round(camera.height * scale)
            camera = camera.scaled(*size)
            image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
            depth = cv2.resize(depth, size, interpolation=cv2.INTER_NEAREST)
        name = f"{number + 1:03d}.png"
        cv2.imwrite(str(folder / name), image)
        kept = Frame(index=number + 1, image=name, source_index=number, timestamp_s=None)
        views.append(View(frame=kept, camera=camera, cam_from_world=frame.cam_from_world))
        depths.append(depth)
    points = np.concatenate(
        [sample(view, d, arguments.points // len(views)) for view, d in zip(views, depths, strict=True)]
    )
    middle = points.mean(axis=0)
    unit = 1 / float(np.mean([np.linalg.norm(view.centre - middle) for view in views]))
    moved = []
    for view in views:
        pose = view.cam_from_world.copy()
        pose[:3, 3] = unit * (pose[:3, :3] @ middle + pose[:3, 3])
        moved.append(View(frame=view.frame, camera=view.camera, cam_from_world=pose))
    scaled = tuple(np.asarray(depth * unit, np.float32) for depth in depths)
    return Scene(folder=folder, model=sparse_model(moved, unit * (points - middle), scaled), depths=scaled)


def sample(view: View, depth: Float32Array, count: int) -> FloatArray:
    """Return up to ``count`` random points of the object's surface, (N, 3) in the world."""
    rows, columns = np.nonzero(depth > 0)
    if not len(rows):
        return np.zeros((0, 3))
    pick = np.random.default_rng(view.frame.index).choice(len(rows), min(count, len(rows)), replace=False)
    rows, columns = rows[pick], columns[pick]
    z = depth[rows, columns].astype(np.float64)[:, None]
    rays = normalised_rays(view.camera)[rows, columns]
    return transform_points(np.linalg.inv(view.cam_from_world), np.concatenate([rays * z, z], axis=1))


def sparse_model(views: list[View], points: FloatArray, depths: tuple[Float32Array, ...]) -> SparseModel:
    """Return the model in which a view sees the points that its true depth shows."""
    observations = []
    for view, depth in zip(views, depths, strict=True):
        in_cam = transform_points(view.cam_from_world, points)
        pixels = project(view.camera, in_cam)
        inside = (pixels >= 0).all(axis=1) & (pixels < [view.camera.width, view.camera.height]).all(axis=1)
        seen = np.flatnonzero(inside)
        column, row = np.floor(pixels[seen]).astype(int).T
        observations.append(seen[np.abs(depth[row, column] - in_cam[seen, 2]) < 0.01 * in_cam[seen, 2]])
    return SparseModel(
        views=tuple(views), points_in_world=points, colors=np.zeros((len(points), 3), np.uint8),
        errors_px=np.zeros(len(points)), observations=tuple(observations),
    )  # fmt: skip


if __name__ == "__main__":
    main(tyro.cli(Arguments))
