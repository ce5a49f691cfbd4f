"""Accuracy of masks by every backend that can run here: ``python benchmarks/masks.py --data DIR``.

Prints one table: set, backend, photos with a true mask, IoU (mean, median, worst). Backends:

- ``cosegment``: a few photos together, no cameras (``walkaround masks``); of a video, ten spread frames
- ``build``: the masks of a whole build, geometry and colour
- ``true cameras``: the mask stage on the true cameras and depth of our own, where a set has cameras
- ``saliency``: the learned model that comes with walkaround, alone, photo by photo
- ``build saliency``: a whole build with ``--masks.model saliency``; it goes on from that of ``build``
- a model's name: the learned model alone, when it is in the cache (``walkaround models``)

Simulated sets need nothing; the others need the shared captures. ``--work`` keeps renders and builds, so that
a second run is quick. ``--sensitivity`` varies each constant of the co-segmentation by 30 % instead, without
its last step, which moves outlines by a few pixels and takes most of the time.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tyro
from accuracy import APPLE_MASK_FRAME, commit, working_folder

from walkaround import __version__
from walkaround.depth import DepthOptions, write_depth_maps
from walkaround.masks import MasksOptions, write_masks
from walkaround.masks.cosegment import CosegmentOptions, cosegment
from walkaround.masks.models import MODELS, SHIPPED, cache_folder
from walkaround.masks.photos import draw_overview, segment_photos
from walkaround.quality.evaluate import mask_iou
from walkaround.simulate import SimulateOptions, simulate_capture
from walkaround.types import BoolArray, ByteArray, Camera, Frame, SparseModel, View

PHOTO_SETS = ("robot", "espresso", "human-toy")
SIMULATED: dict[str, dict[str, Any]] = {
    "sim-plain": {"object": "figurine", "plain_background": True, "table": "plain"},
    "sim-cluttered": {"object": "mug", "table": "stone", "clutter": 6},
    "sim-dark": {"object": "vase", "exposure": 0.1},
    "sim-border": {"object": "blob", "nearness": 0.75},
    "sim-thin": {"object": "plant"},
    "sim-wire": {"object": "wire"},
}
OTHERS = ("bunny", "apple", "virtual-plant")
SPREAD = 10


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Measure masks."""

    sets: tuple[str, ...] = (*PHOTO_SETS, *OTHERS, *SIMULATED)
    """Which sets to measure."""
    backends: tuple[str, ...] = (
        "cosegment", *SHIPPED, "build", "build saliency", "true cameras", "true cameras saliency", *MODELS,
    )  # fmt: skip
    """Which backends; those that cannot run here are left out, with a word."""
    data: Path | None = None
    """Folder of the shared captures; WALKAROUND_TEST_DATA when not given."""
    work: Path | None = None
    """Keep renders and builds here; a temporary folder when not given."""
    pictures: Path | None = None
    """Write an overview of each row's masks here."""
    sensitivity: bool = False
    """Vary each constant of the co-segmentation by 30 % on the three photo sets instead."""
    threads: int = 2
    """Threads of the builds."""


@dataclass(frozen=True, kw_only=True)
class Shot:
    """One image as its file stores it, and the true mask (H, W) if there is one."""

    name: str
    image_srgb: ByteArray
    truth: BoolArray | None


@dataclass(frozen=True, kw_only=True)
class Case:
    """A set."""

    name: str
    shots: tuple[Shot, ...]
    source: Path | None = None
    """What a build takes."""
    index_of: Callable[[dict[str, Any]], str] = lambda frame: frame["image"]
    """Finds the shot of a frame of a build's record."""
    views: tuple[View, ...] = ()
    """True cameras, orbit radius about 1, in the shots' order."""


def main(arguments: Arguments) -> None:
    """Print the table."""
    data = arguments.data or Path(os.environ.get("WALKAROUND_TEST_DATA", "") or os.devnull)
    print(f"walkaround {__version__}, commit {commit()}")
    with working_folder(arguments.work) as work:
        cases = [case for name in arguments.sets if (case := find_case(name, data, work)) is not None]
        if arguments.sensitivity:
            print_sensitivity([case for case in cases if case.name in PHOTO_SETS])
            return
        print(f"{'set':<14} {'backend':<21} {'masks':>5} {'mean':>6} {'median':>6} {'worst':>6}")
        for case in cases:
            for backend in arguments.backends:
                for masks in run(case, backend, work, arguments.threads):
                    print_row(case, backend, masks, arguments.pictures)


def print_row(case: Case, backend: str, masks: dict[str, BoolArray], pictures: Path | None) -> None:
    """Print IoU over the shots that have a true mask; frames that a build left out do not count."""
    scores = [
        mask_iou(masks[shot.name], shot.truth)
        for shot in case.shots
        if shot.truth is not None and shot.name in masks
    ]
    if not scores:
        print(f"{case.name:<14} {backend:<21} nothing to compare")
        return
    print(f"{case.name:<14} {backend:<21} {len(scores):5d} {np.mean(scores):6.3f} {np.median(scores):6.3f}"
          f" {min(scores):6.3f}", flush=True)  # fmt: skip
    if pictures is not None:
        pictures.mkdir(parents=True, exist_ok=True)
        shown = [shot for shot in case.shots if shot.name in masks][:20]
        sized = [cv2.resize(masks[s.name].astype(np.uint8), s.image_srgb.shape[1::-1]) > 0 for s in shown]
        sheet = draw_overview([shot.image_srgb for shot in shown], sized)
        cv2.imwrite(str(pictures / f"{case.name} {backend}.png"), sheet[..., ::-1])


# --- backends ---


def run(case: Case, backend: str, work: Path, threads: int) -> Iterator[dict[str, BoolArray]]:
    """Yield the masks by shot name, or nothing where the backend cannot run."""
    kind = backend.removesuffix(" saliency")
    model = "saliency" if kind != backend else None
    if kind == "build":
        if case.source is not None:
            yield from build_masks(case, work, threads, model)
    elif kind == "true cameras":
        if case.views:
            yield true_camera_masks(case, work, threads, model)
    elif backend == "cosegment" or can_run(backend):
        step = max(1, len(case.shots) // SPREAD)
        shots = case.shots if case.name in PHOTO_SETS else case.shots[::step][:SPREAD]
        path = None if backend == "cosegment" else Path(backend)
        results = segment_photos([shot.image_srgb for shot in shots], model=path)
        yield {shot.name: result.mask for shot, result in zip(shots, results, strict=True)}


def can_run(model: str) -> bool:
    """True when the model comes with walkaround, or is in the cache and onnxruntime is installed."""
    if model in SHIPPED:
        return True
    known = importlib.util.find_spec("onnxruntime") is not None
    return known and model in MODELS and (cache_folder() / MODELS[model].file).is_file()


def build_masks(
    case: Case, work: Path, threads: int, model: str | None = None
) -> Iterator[dict[str, BoolArray]]:
    """Build the set unless its record is there, and read the masks of its frames.

    With a model it goes on from the build without one, so that both have the same cameras and depth.
    """
    root = work / "builds" / case.name
    if model is not None:
        plain, root = root, work / f"builds {model}" / case.name
        if plain.is_dir() and not root.is_dir():
            shutil.copytree(plain, root)
    command = [sys.executable, "-m", "walkaround", "build", str(case.source), "--out", str(root), "--json"]
    command += ["--class-label", "object", "--threads", str(threads)]
    command += [] if model is None else ["--masks.model", model]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    try:
        record = json.loads(done.stdout)
    except ValueError:
        print(f"{case.name:<14} build                 failed (exit code {done.returncode})")
        return
    folder = root / record["class_label"] / record["instance_id"] / "masks"
    if not folder.is_dir():
        print(f"{case.name:<14} build                 {record['status']}: {' '.join(record['reasons'])}")
        return
    yield {
        case.index_of(frame): cv2.imread(str(folder / f"{Path(frame['image']).stem}.png"), 0) > 127
        for frame in record["frames"]
    }


def true_camera_masks(case: Case, work: Path, threads: int, name: str | None = None) -> dict[str, BoolArray]:
    """Run depth and masks on the true cameras."""
    folder = work / "true cameras" / case.name
    images, masks = folder / "images", folder / "masks"
    images.mkdir(parents=True, exist_ok=True)
    for view, shot in zip(case.views, case.shots, strict=True):
        cv2.imwrite(str(images / view.frame.image), shot.image_srgb[..., ::-1])
    points = ball()
    model = SparseModel(
        views=case.views, points_in_world=points, colors=np.zeros(points.shape, np.uint8),
        errors_px=np.zeros(len(points)), observations=(np.arange(len(points)),) * len(case.views),
    )  # fmt: skip
    if not (folder / "depth").is_dir():
        write_depth_maps(
            images,
            model,
            folder / "depth",
            folder / "confidence",
            options=DepthOptions(),
            num_threads=threads,
        )
    frames = tuple(view.frame for view in case.views)
    options = MasksOptions(model=None if name is None else Path(name))
    write_masks(images, frames, model, folder / "depth", masks, options=options, num_threads=threads)
    return {
        shot.name: cv2.imread(str(masks / f"{Path(view.frame.image).stem}.png"), 0) > 127
        for view, shot in zip(case.views, case.shots, strict=True)
    }


def ball() -> np.ndarray:
    """Return points that span the object's space, as sparse points would: a ball of radius 0.4."""
    rng = np.random.default_rng(0)
    points = rng.normal(size=(500, 3))
    return 0.4 * points / np.linalg.norm(points, axis=1, keepdims=True) * rng.random((500, 1)) ** (1 / 3)


# --- sets ---


def find_case(name: str, data: Path, work: Path) -> Case | None:
    """Return the set, rendered where it is simulated; None, with a word, when its files are missing."""
    if name in SIMULATED:
        folder = work / "captures" / name
        options = SimulateOptions(num_frames=40, size=(640, 360), **SIMULATED[name])
        capture = simulate_capture(folder, options=options)
        return Case(
            name=name, shots=truth_shots(capture.truth_dir), source=capture.video_path,
            index_of=lambda frame: f"{frame['source_index'] + 1:03d}.png",
        )  # fmt: skip
    if not data.is_dir():
        print(f"{name} was left out: the shared captures are not there.")
        return None
    if name in PHOTO_SETS:
        return Case(name=name, shots=photo_shots(data / "masks" / name))
    if name == "bunny":
        folder = data / "truth" / "bunny"
        return Case(
            name=name, shots=truth_shots(folder), source=folder / "images",
            index_of=lambda frame: f"{frame['source_index'] + 1:03d}.png",
        )  # fmt: skip
    if name == "apple":
        shots = apple_shots(data)
        return Case(
            name=name, shots=shots, source=data / "captures" / "apple.mp4",
            # the first kept frame is the nearest to the one with a mask
            index_of=lambda frame: str(0 if frame["image"] == "001.jpg" else frame["source_index"]),
        )  # fmt: skip
    if name == "virtual-plant":
        return virtual_plant(data / "truth" / "virtual_plant")
    sys.exit(f"unknown set {name}")


def read(path: Path) -> ByteArray:
    """Read (H, W, 3) RGB as stored: EXIF's turn is not applied, as the masks were drawn without it."""
    image = cv2.imread(str(path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    return np.ascontiguousarray(image[..., ::-1])


def photo_shots(folder: Path) -> tuple[Shot, ...]:
    """Read ``images/`` with ``masks/`` (grey, or in the alpha channel)."""
    shots = []
    for path in sorted((folder / "images").iterdir()):
        mask = cv2.imread(str(folder / "masks" / f"{path.stem}.png"), cv2.IMREAD_UNCHANGED)
        if mask.ndim == 3:
            mask = mask[..., 3] if mask[..., 3].min() < 255 else mask[..., 0]
        shots.append(Shot(name=path.name, image_srgb=read(path), truth=mask > 127))
    return tuple(shots)


def truth_shots(folder: Path) -> tuple[Shot, ...]:
    """Read the images and masks of a truth folder (docs/format.md)."""
    return tuple(
        Shot(name=path.name, image_srgb=read(path), truth=read(folder / "masks" / path.name)[..., 0] > 127)
        for path in sorted((folder / "images").glob("*.png"))
    )


def apple_shots(data: Path) -> tuple[Shot, ...]:
    """Read the video's frames; one has a mask."""
    video, shots = cv2.VideoCapture(str(data / "captures" / "apple.mp4")), []
    mask = read(data / "masks" / "apple_mask.png")[..., 0] > 127
    while True:
        ok, frame = video.read()
        if not ok:
            return tuple(shots)
        number = len(shots)
        image = np.ascontiguousarray(frame[..., ::-1])
        shots.append(
            Shot(name=str(number), image_srgb=image, truth=mask if number == APPLE_MASK_FRAME else None)
        )


def virtual_plant(folder: Path) -> Case:
    """Read the rendered plant; cameras in ``metadata/images``.

    Most of it is thinner than a pixel, so whatever a tenth of a pixel belongs to counts as plant.
    """
    shots, views = [], []
    for path in sorted((folder / "images").glob("*_rgb.png")):
        background = read(folder / "images" / path.name.replace("_rgb", "_background"))[..., 0]
        shots.append(Shot(name=path.name, image_srgb=read(path), truth=background < 230))
        known = json.loads((folder / "metadata" / "images" / f"{path.stem}.json").read_text())
        views.append(plant_view(len(shots), known, shots[-1].image_srgb.shape))
    return Case(name="virtual-plant", shots=tuple(shots), views=normalised(views))


def plant_view(number: int, known: dict[str, Any], shape: tuple[int, ...]) -> View:
    """Read one camera of the plant's metadata: COLMAP's convention, no distortion."""
    params = known["camera"]["camera_model"]["params"]
    camera = Camera(model="PINHOLE", width=shape[1], height=shape[0], params=tuple(params[:4]))
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = known["camera"]["rotmat"], known["camera"]["tvec"]
    frame = Frame(index=number, image=f"{number:03d}.png", source_index=number - 1, timestamp_s=None)
    return View(frame=frame, camera=camera, cam_from_world=pose)


def normalised(views: list[View]) -> tuple[View, ...]:
    """Move the origin to the point nearest to all optical axes and make the mean distance from it 1."""
    across = [np.eye(3) - np.outer(axis, axis) for axis in (view.cam_from_world[2, :3] for view in views)]
    middle = np.linalg.solve(sum(across), sum(a @ view.centre for a, view in zip(across, views, strict=True)))
    unit = 1 / float(np.mean([np.linalg.norm(view.centre - middle) for view in views]))
    moved = []
    for view in views:
        pose = view.cam_from_world.copy()
        pose[:3, 3] = unit * (pose[:3, :3] @ middle + pose[:3, 3])
        moved.append(dataclasses.replace(view, cam_from_world=pose))
    return tuple(moved)


# --- how much the constants matter ---


def print_sensitivity(cases: list[Case]) -> None:
    """Print the mean IoU of each set with each constant 30 % smaller and larger."""
    print(
        f"{'constant':<18} {'factor':>6} " + " ".join(f"{case.name:>10}" for case in cases) + f" {'mean':>7}"
    )
    usual = CosegmentOptions(refine_edges=False)
    print_setting("(as shipped)", 1.0, usual, cases)
    for field in dataclasses.fields(CosegmentOptions):
        if field.name in ("refine_edges", "outline_size_px"):
            continue
        for factor in (0.7, 1.3):
            value = scaled(getattr(usual, field.name), factor)
            print_setting(field.name, factor, dataclasses.replace(usual, **{field.name: value}), cases)


def scaled(value: Any, factor: float) -> Any:
    """Scale a number or each number of a tuple; whole numbers stay whole."""
    if isinstance(value, tuple):
        return tuple(scaled(item, factor) for item in value)
    return round(value * factor) if isinstance(value, int) else value * factor


def print_setting(name: str, factor: float, options: CosegmentOptions, cases: list[Case]) -> None:
    """Print one line."""
    means = []
    for case in cases:
        results = cosegment([shot.image_srgb for shot in case.shots], options=options)
        scores = [
            mask_iou(r.mask, s.truth) for r, s in zip(results, case.shots, strict=True) if s.truth is not None
        ]
        means.append(float(np.mean(scores)))
    numbers = " ".join(f"{mean:10.3f}" for mean in means)
    print(f"{name:<18} {factor:6.1f} {numbers} {np.mean(means):7.3f}", flush=True)


if __name__ == "__main__":
    main(tyro.cli(Arguments))
