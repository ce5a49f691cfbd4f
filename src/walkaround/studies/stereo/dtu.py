"""DTU (Aanaes et al. 2016, doi:10.1007/s11263-016-0902-9) in the layout of MVSNet's authors.

::

    Cameras/pair.txt                             source views of each view, best first
    Cameras/train/00000000_cam.txt               extrinsic, intrinsic, least depth and interval
    Rectified/scan1_train/rect_001_3_r5000.png   views from 1, lights 0 to 6; 640x512
    Depths/scan1_train/depth_map_0000.pfm        views from 0; 160x128, millimetres, 0 where unknown

The intrinsics in ``Cameras/train`` are of 160x128 pixels. Their pixel centres are whole numbers, so half a
pixel (of that size) is added to get COLMAP's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from walkaround.errors import FormatError
from walkaround.studies.stereo.scenes import StereoScene
from walkaround.types import ByteArray, Float32Array, FloatArray, IntArray, Progress, no_progress

VALIDATION = (3, 5, 17, 21, 28, 35, 37, 38, 40, 43, 56, 59, 66, 67, 82, 86, 106, 117)
"""Scans of MVSNet's validation list: the study tests on these, as their depth lies beside the training's."""
EVALUATION = (1, 4, 9, 10, 11, 12, 13, 15, 23, 24, 29, 32, 33, 34, 48, 49, 62, 75, 77, 110, 114, 118)
"""Scans of its evaluation list: never trained with."""
_CAMERA_SIZE_WH = 160, 128
_NUM_PLANES = 192
"""Depths in a camera file's range, as MVSNet was trained: 425 mm and 191 intervals of 2.5 mm times 1.06."""


@dataclass(frozen=True, kw_only=True)
class DtuCamera:
    """One camera file."""

    cam_from_world: FloatArray  #: (4, 4) millimetres
    K: FloatArray  #: (3, 3) COLMAP's, px of 160x128
    depth_range: tuple[float, float]  #: mm


def list_scans(root: Path, part: str) -> list[int]:
    """Return the scans that are there, of ``train`` (neither in VALIDATION nor EVALUATION) or ``test``.

    Raises
    ------
    FormatError
        There are none.
    """
    found = (re.fullmatch(r"scan(\d+)_train", path.name) for path in sorted(root.glob("Rectified/*")))
    numbers = sorted(int(match.group(1)) for match in found if match)
    held = {*VALIDATION, *EVALUATION}
    chosen = [n for n in numbers if (n in VALIDATION if part == "test" else n not in held)]
    if not chosen:
        raise FormatError(
            f"{root} has no Rectified/scanN_train for {part} ({len(numbers)} scans there). Give the folder"
            " that holds Cameras, Rectified and Depths."
        )
    return chosen


def read_dtu(
    root: Path,
    scans: Sequence[int],
    *,
    light: int = 3,
    height_px: int = 512,
    num_sources: int = 2,
    progress: Progress = no_progress,
) -> Iterator[StereoScene]:
    """Yield scans with all views of ``Cameras/pair.txt``; images are shrunk to ``height_px``.

    Raises
    ------
    FormatError
        A file is missing or broken.
    """
    sources = read_pairs(root / "Cameras" / "pair.txt", num_sources)
    cameras = [read_camera(root / "Cameras" / "train" / f"{n:08d}_cam.txt") for n in range(len(sources))]
    width_px = round(height_px * 640 / 512 / 16) * 16
    scale = np.diag([width_px / _CAMERA_SIZE_WH[0], height_px / _CAMERA_SIZE_WH[1], 1.0])
    for number, scan in enumerate(scans):
        folder = f"scan{scan}_train"
        images, depths = [], []
        for view in range(len(sources)):
            name = f"rect_{view + 1:03d}_{light}_r5000.png"
            image = _read(root / "Rectified" / folder / name, cv2.IMREAD_GRAYSCALE)
            images.append(cv2.resize(image, (width_px, height_px), interpolation=cv2.INTER_AREA))
            depth = read_depth_map(root / "Depths" / folder / f"depth_map_{view:04d}.pfm")
            depths.append(cv2.resize(depth, (width_px, height_px), interpolation=cv2.INTER_NEAREST))
        yield StereoScene(
            key=f"scan{scan}",
            images=np.stack(images),
            K=np.stack([scale @ camera.K for camera in cameras]),
            cam_from_world=np.stack([camera.cam_from_world for camera in cameras]),
            inverse_range=np.array([[1 / c.depth_range[1], 1 / c.depth_range[0]] for c in cameras]),
            sources=sources,
            depth=np.stack(depths),
        )
        progress((number + 1) / len(scans))


def read_camera(path: Path) -> DtuCamera:
    """Read a camera file: the word extrinsic, 4x4, intrinsic, 3x3, least depth and interval.

    Raises
    ------
    FormatError
        It is missing or has other contents.
    """
    words = _text(path).split()
    try:
        if (words[0], words[17]) != ("extrinsic", "intrinsic"):
            raise ValueError(f"the words {words[0]:.20} and {words[17]:.20}")
        numbers = np.array([float(word) for word in [*words[1:17], *words[18:29]]])
        low, interval = numbers[25:27]
        if not np.isfinite(numbers).all() or low <= 0 or interval <= 0:
            raise ValueError(f"the depth {low:g} and interval {interval:g}")
    except (IndexError, ValueError) as error:
        raise FormatError(
            f"{path} is no camera of MVSNet's layout ({error}): extrinsic, 16 numbers, intrinsic, 9, and 2."
        ) from error
    K = numbers[16:25].reshape(3, 3)
    K[:2, 2] += 0.5  # from pixel centres at whole numbers to COLMAP's, on 160x128 pixels
    high = low + (_NUM_PLANES - 1) * 1.06 * interval
    return DtuCamera(cam_from_world=numbers[:16].reshape(4, 4), K=K, depth_range=(float(low), float(high)))


def read_pairs(path: Path, count: int) -> IntArray:
    """Return the best ``count`` sources of each view of a ``pair.txt``, (V, count).

    Raises
    ------
    FormatError
        It is missing, has other contents, or too few sources.
    """
    lines = _text(path).split("\n")
    try:
        views = int(lines[0])
        rows = np.zeros((views, count), dtype=np.int64)
        for k in range(views):
            words = lines[2 + 2 * k].split()
            rows[int(lines[1 + 2 * k])] = [int(word) for word in words[1 : 1 + 2 * count : 2]]
        if views < 2 or rows.min() < 0 or rows.max() >= views:
            raise ValueError(f"{views} views, sources {rows.min()} to {rows.max()}")
    except (IndexError, ValueError) as error:
        raise FormatError(
            f"{path} is no pair.txt of MVSNet's layout with {count} sources a view ({error})."
        ) from error
    return rows


def read_depth_map(path: Path) -> Float32Array:
    """Read (H, W) depth of a PFM file; what is not finite or negative becomes 0.

    Raises
    ------
    FormatError
        It is missing or no grey PFM.
    """
    depth = _read(path, cv2.IMREAD_UNCHANGED)
    if depth.ndim != 2 or depth.dtype != np.float32:
        raise FormatError(f"{path} is {depth.dtype} of {depth.ndim} dimensions, not a grey PFM.")
    return np.where(np.isfinite(depth) & (depth > 0), depth, 0).astype(np.float32)


def _read(path: Path, flags: int) -> ByteArray:
    found = cv2.imread(str(path), flags) if path.is_file() else None
    if found is None:
        raise FormatError(f"{path} is missing or cannot be decoded. Is the download of DTU complete?")
    return np.asarray(found)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise FormatError(f"{path} cannot be read ({error}). Is the download of DTU complete?") from error
