"""Time, memory and accuracy of the depth stage alone: ``python benchmarks/depth.py --truth DIR --repeat 3``.

DIR is a truth folder (docs/format.md) with images and depth. The stage gets the true cameras and sparse
points sampled from the true depth, so nothing but stereo is measured. Without ``--truth`` a capture is
simulated. Each line is measured in a process of its own, after a small run that loads the kernels.

``--scaling`` fits the exponents with which the CPU time grows with the pixels and with the views.
``--backends patchmatch learned`` compares backends. ``--large`` measures 100 views of 1920x1080, worked on
at that size. Images may be enlarged: time and memory do not care, accuracy does.
"""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import tyro
from accuracy import commit, machine

from walkaround import __version__
from walkaround.depth import DepthOptions, write_depth_maps
from walkaround.geometry import normalised_rays, project, transform_points
from walkaround.io.depth import FILLED, read_depth, read_grey
from walkaround.quality.truth import Truth, TruthFrame, read_truth
from walkaround.simulate import SimulateOptions, simulate_capture
from walkaround.types import Camera, Float32Array, FloatArray, Frame, SparseModel, View


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Measure the depth stage."""

    truth: tuple[Path, ...] = ()
    """Truth folders: cameras.json, images/, depth/*.npz. Simulated when none is given."""
    repeat: int = 1
    """Measured runs; the median is printed, and the range."""
    views: tuple[int, ...] = (0,)
    """Take this many neighbouring views; 0 takes all. Several numbers print a line each."""
    scale: tuple[float, ...] = (1.0,)
    """Resize the images by this factor. Several numbers print a line each."""
    scaling: bool = False
    """How cost grows: 10 views of four sizes, 10 to 60 views of one size."""
    large: bool = False
    """100 views of 1920x1080."""
    points: int = 100
    """Sparse points a view, sampled from its true depth."""
    threads: int = 2
    """Threads of the stage."""
    depth: DepthOptions = dataclasses.field(default_factory=DepthOptions)
    """Options of the stage; ``--scaling`` and ``--large`` raise max_size to 1920."""
    backends: tuple[str, ...] = ()
    """Measure each of these on the same, one below the other, instead of ``--depth.backend``."""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A folder of images and its model, in units of the model."""

    folder: Path
    model: SparseModel
    truth: Truth
    frames: tuple[TruthFrame, ...]
    unit: float  # model units a unit of the truth

    @property
    def megapixels(self) -> float:
        return sum(view.camera.width * view.camera.height for view in self.model.views) / 1e6

    def depth(self, index: int) -> Float32Array:
        """Return the true depth of a view at the size of its image; 0 is nothing of the object."""
        depth = self.truth.depth(self.frames[index])
        if depth is None:
            sys.exit(f"{self.frames[index].image} of {self.truth.folder} has no depth.")
        camera = self.model.views[index].camera
        size = camera.width, camera.height
        depth = cv2.resize(depth, size, interpolation=cv2.INTER_NEAREST)
        return depth.astype(np.float32) * np.float32(self.unit)


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What the stage took in its own process."""

    wall_s: list[float]
    cpu_s: list[float]
    peak_gb: float


def main(arguments: Arguments) -> None:
    """Print one line for each size of the problem."""
    print(f"machine: {machine()}; load {os.getloadavg()[0]:.1f}; {arguments.threads} threads; "
          f"walkaround {__version__}, commit {commit()}")  # fmt: skip
    print(
        f"{'views':>5} {'size':>10} {'wall s':>22} {'CPU s':>7} {'wall/MPx':>9} {'CPU/MPx':>8} {'cover':>6}"
        f" {'median %':>9} {'in 1 %':>7} {'peak GB':>8}"
    )
    with tempfile.TemporaryDirectory() as made:
        for folder in arguments.truth or (simulated(Path(made), arguments),):
            print(folder if arguments.truth else "simulated")
            if arguments.scaling:
                measure_scaling(arguments, folder)
            elif arguments.large:
                scale = 1920 / image_width(folder)
                measure(full_size(arguments), folder, 100, scale)
            else:
                for one in each_backend(arguments):
                    for count in arguments.views:
                        for scale in arguments.scale:
                            measure(one, folder, count, scale)


def each_backend(arguments: Arguments) -> Iterator[Arguments]:
    """Yield the arguments with each backend that is asked for, after a line of its name."""
    for name in arguments.backends:
        print(name)
        yield dataclasses.replace(arguments, depth=dataclasses.replace(arguments.depth, backend=name))
    if not arguments.backends:
        yield arguments


def simulated(folder: Path, arguments: Arguments) -> Path:
    """Render a capture with as many frames as are needed."""
    frames = 100 if arguments.large else 60 if arguments.scaling else 30
    simulate_capture(folder, options=SimulateOptions(num_frames=frames), num_threads=arguments.threads)
    return folder


def full_size(arguments: Arguments) -> Arguments:
    """Work on images of up to 1920 px without shrinking them."""
    return dataclasses.replace(arguments, depth=dataclasses.replace(arguments.depth, max_size=1920))


def image_width(folder: Path) -> int:
    size = read_truth(folder).frames[0].size_wh
    if size is None:
        sys.exit(f"cameras.json of {folder} does not give the images' size.")
    return size[0]


def measure_scaling(arguments: Arguments, folder: Path) -> None:
    """Fit ``CPU s = c * pixels ** a`` and ``CPU s = c * views ** b`` on one scene, its images resized."""
    arguments = full_size(arguments)
    width = image_width(folder)
    sizes = [measure(arguments, folder, 10, target / width) for target in (480, 960, 1440, 1920)]
    print(f"CPU time grows with the pixels to the power of {exponent(sizes):.2f}")
    counts = [measure(arguments, folder, count, 960 / width) for count in (10, 20, 30, 60)]
    print(f"CPU time grows with the views to the power of {exponent(counts):.2f}")


def exponent(points: Sequence[tuple[float, float]]) -> float:
    """Return the slope of the line through the logarithms of (size, cost)."""
    size, cost = np.log(np.array(points)).T
    return float(np.polyfit(size, cost, 1)[0])


def measure(arguments: Arguments, folder: Path, count: int, scale: float) -> tuple[float, float]:
    """Run the stage, print its line; return megapixels and CPU seconds."""
    with tempfile.TemporaryDirectory() as scratch:
        scene = load_scene(folder, Path(scratch), views=count, scale=scale, points=arguments.points)
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            cost: Cost = pool.apply(run_stage, (arguments, scene.folder, scene.model, Path(scratch)))
        measured, filled = accuracy(scene, Path(scratch))
    camera = scene.model.views[0].camera
    wall, cpu = statistics.median(cost.wall_s), statistics.median(cost.cpu_s)
    spread = f"{wall:.2f} ({min(cost.wall_s):.2f}-{max(cost.wall_s):.2f})"
    print(
        f"{len(scene.model.views):5d} {camera.width:5d}x{camera.height:<4d} {spread:>22} {cpu:7.2f}"
        f" {wall / scene.megapixels:9.2f} {cpu / scene.megapixels:8.2f} {measured} {cost.peak_gb:8.2f}"
        + (f"   filled {filled}" if arguments.depth.asked_filling else ""),
        flush=True,
    )
    return scene.megapixels, cpu


def run_stage(arguments: Arguments, images: Path, model: SparseModel, scratch: Path) -> Cost:
    """Run the stage and return its cost; a few views at a small size first, to load the kernels."""

    def run(model: SparseModel, options: DepthOptions) -> None:
        write_depth_maps(
            images, model, scratch / "depth", scratch / "confidence", options=options,
            num_threads=arguments.threads,
        )  # fmt: skip

    few = dataclasses.replace(model, views=model.views[:3], observations=model.observations[:3])
    run(few, dataclasses.replace(arguments.depth, max_size=160))
    walls, cpus = [], []
    for _ in range(arguments.repeat):
        before, start = os.times(), time.perf_counter()
        run(model, arguments.depth)
        after = os.times()
        walls.append(time.perf_counter() - start)
        cpus.append(after.user + after.system - before.user - before.system)
    return Cost(wall_s=walls, cpu_s=cpus, peak_gb=peak_bytes() / 2**30)


def peak_bytes() -> float:
    """Return this process' largest resident size.

    Linux counts what the parent had before ``exec`` into ``ru_maxrss``, but not into VmHWM.
    """
    status = Path("/proc/self/status")
    if status.exists():
        return 1024 * float(status.read_text().split("VmHWM:")[1].split()[0])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0


def accuracy(scene: Scene, folder: Path) -> tuple[str, str]:
    """Return coverage of the object's pixels, median relative error and share within 1 %, as text.

    Of the measured pixels and of the filled ones.
    """
    total = 0
    errors: dict[bool, list[Float32Array]] = {False: [], True: []}
    for index, view in enumerate(scene.model.views):
        truth = scene.depth(index)
        name = f"{Path(view.frame.image).stem}.png"
        found, valid = read_depth(folder / "depth" / name)
        filled = read_grey(folder / "confidence" / name) == FILLED
        total += int((truth > 0).sum())
        for kind, chosen in errors.items():
            at = valid & (truth > 0) & (filled == kind)
            chosen.append((np.abs(found[at] - truth[at]) / truth[at]).astype(np.float32))
    return summary(errors[False], total), summary(errors[True], total)


def summary(errors: list[Float32Array], total: int) -> str:
    error = np.concatenate(errors)
    if not len(error):
        return f"{0:6.3f} {'-':>9} {'-':>7}"
    return f"{len(error) / total:6.3f} {100 * np.median(error):9.3f} {(error < 0.01).mean():7.3f}"


def load_scene(
    folder: Path, scratch: Path, *, views: int = 0, scale: float = 1.0, points: int = 100
) -> Scene:
    """Resize the images, move the origin onto the object and make the orbit's radius 1."""
    truth = read_truth(folder)
    frames = [frame for frame in truth.frames if frame.K is not None]
    frames = frames[: views or None]
    if len(frames) < max(2, views):
        sys.exit(f"{folder} has {len(frames)} frames with K and depth; {max(2, views)} are needed.")
    images = scratch / "images"
    images.mkdir()
    placed = [resize_image(folder, frame, images, n, scale) for n, frame in enumerate(frames)]
    empty = SparseModel(
        views=tuple(placed), points_in_world=np.zeros((0, 3)), colors=np.zeros((0, 3), np.uint8),
        errors_px=np.zeros(0), observations=(np.zeros(0, np.int64),) * len(placed),
    )  # fmt: skip
    scene = Scene(folder=images, model=empty, truth=truth, frames=tuple(frames), unit=1.0)
    cloud = np.concatenate([sample(view, scene.depth(n), points) for n, view in enumerate(placed)])
    middle = cloud.mean(axis=0)
    unit = 1 / float(np.mean([np.linalg.norm(view.centre - middle) for view in placed]))
    moved = []
    for view in placed:
        pose = view.cam_from_world.copy()
        pose[:3, 3] = unit * (pose[:3, :3] @ middle + pose[:3, 3])
        moved.append(dataclasses.replace(view, cam_from_world=pose))
    scene = dataclasses.replace(scene, model=dataclasses.replace(empty, views=tuple(moved)), unit=unit)
    return dataclasses.replace(scene, model=observed(scene, unit * (cloud - middle)))


def resize_image(folder: Path, frame: TruthFrame, images: Path, number: int, scale: float) -> View:
    """Write the image of a frame in its new size; return its view."""
    image = cv2.imread(str(folder / "images" / frame.image))
    if image is None or frame.K is None:
        sys.exit(f"{frame.image} of {folder} cannot be read.")
    K = frame.K
    camera = Camera(
        model="PINHOLE", width=image.shape[1], height=image.shape[0],
        params=(K[0, 0], K[1, 1], K[0, 2], K[1, 2]),
    )  # fmt: skip
    if scale != 1.0:
        camera = camera.scaled(round(camera.width * scale), round(camera.height * scale))
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        image = cv2.resize(image, (camera.width, camera.height), interpolation=how)
    name = f"{number + 1:03d}.png"
    cv2.imwrite(str(images / name), image)
    kept = Frame(index=number + 1, image=name, source_index=number, timestamp_s=None)
    return View(frame=kept, camera=camera, cam_from_world=frame.cam_from_world)


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


def observed(scene: Scene, points: FloatArray) -> SparseModel:
    """Return the model in which a view sees the points that its true depth shows."""
    observations = []
    for index, view in enumerate(scene.model.views):
        depth = scene.depth(index)
        in_cam = transform_points(view.cam_from_world, points)
        pixels = project(view.camera, in_cam)
        inside = (pixels >= 0).all(axis=1) & (pixels < [view.camera.width, view.camera.height]).all(axis=1)
        seen = np.flatnonzero(inside)
        column, row = np.floor(pixels[seen]).astype(int).T
        observations.append(seen[np.abs(depth[row, column] - in_cam[seen, 2]) < 0.01 * in_cam[seen, 2]])
    return dataclasses.replace(
        scene.model, points_in_world=points, colors=np.zeros((len(points), 3), np.uint8),
        errors_px=np.zeros(len(points)), observations=tuple(observations),
    )  # fmt: skip


if __name__ == "__main__":
    main(tyro.cli(Arguments))
