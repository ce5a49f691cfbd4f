"""ScanObjectNN's clouds of scanned objects from its h5 files (Uy et al. 2019, arXiv:1908.04616).

``main_split_nobg`` holds the object's points alone (OBJ_ONLY), ``main_split`` what stands around it, too
(OBJ_BG), and there ``..._augmentedrot_scale75`` five copies of each object whose box was moved by up to half
its size, turned and scaled (PB_T50_RS). Each file has ``data`` (S, 2048, 3), ``label`` (S,) and, where there
is a background, ``mask`` (S, 2048) with -1 at its points.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from walkaround.errors import FormatError, UsageError
from walkaround.studies.clouds.samples import CloudSet, draw_points, unit_cloud
from walkaround.types import BoolArray, Float32Array

CLASS_NAMES = (
    "bag", "bin", "box", "cabinet", "chair", "desk", "display", "door", "shelf", "table", "bed", "pillow",
    "sink", "sofa", "toilet",
)  # fmt: skip
VARIANTS = {
    "OBJ_ONLY": ("main_split_nobg", "objectdataset.h5"),
    "OBJ_BG": ("main_split", "objectdataset.h5"),
    "PB_T50_RS": ("main_split", "objectdataset_augmentedrot_scale75.h5"),
}
_PREFIXES = {"train": "training", "test": "test"}
BACKGROUND = -1


def read_scanobjectnn(
    root: Path,
    variant: str,
    part: str,
    *,
    num_points: int = 2048,
    drop_background: bool = False,
    seed: int = 0,
) -> CloudSet:
    """Read one part of one variant.

    Parameters
    ----------
    root
        The folder that holds ``main_split`` and ``main_split_nobg``, or the one above (with ``h5_files``).
    variant
        ``OBJ_ONLY``, ``OBJ_BG`` or ``PB_T50_RS``.
    part
        ``train`` or ``test``.
    num_points
        Points kept of each cloud, drawn at random by ``seed``; 2,048 keeps all in their order.
    drop_background
        Keep only the object's points (some come again to fill the cloud up).

    Raises
    ------
    UsageError
        There is no such variant or part, or h5py is missing.
    FormatError
        The file is missing, or is not what it should be.
    """
    path = file_of(root, variant, part)
    data, label, mask = _read_file(path)
    foreground = None if mask is None else mask != BACKGROUND
    if drop_background and foreground is None:
        raise FormatError(f"{path} has no mask, so its background cannot be dropped.")
    if drop_background or num_points != data.shape[1]:
        data, foreground = _redrawn(data, foreground, num_points, drop_background, seed)
    return CloudSet(
        points=np.stack([unit_cloud(cloud) for cloud in data]),
        labels=label,
        class_names=CLASS_NAMES,
        keys=tuple(f"{variant}/{part}/{i}" for i in range(len(label))),
        foreground=foreground,
    )


def file_of(root: Path, variant: str, part: str) -> Path:
    """Return the h5 file of a part of a variant.

    Raises
    ------
    UsageError
        There is no such variant or part.
    FormatError
        It is not below ``root``.
    """
    if variant not in VARIANTS:
        raise UsageError(f"ScanObjectNN has no variant {variant!r:.40}; it has {', '.join(VARIANTS)}.")
    if part not in _PREFIXES:
        raise UsageError(f"ScanObjectNN has no part {part!r:.40}; it has {', '.join(_PREFIXES)}.")
    folder, name = VARIANTS[variant]
    for base in (root, root / "h5_files"):
        path = base / folder / f"{_PREFIXES[part]}_{name}"
        if path.is_file():
            return path
    raise FormatError(
        f"{root / folder / f'{_PREFIXES[part]}_{name}'} does not exist. Give the folder with main_split and"
        " main_split_nobg, from h5_files.zip of ScanObjectNN."
    )


def _read_file(path: Path) -> tuple[Float32Array, Any, Any]:
    try:
        import h5py
    except ImportError as error:
        raise UsageError("ScanObjectNN's files need h5py: pip install 'walkaround[clouds]'.") from error
    try:
        with h5py.File(path, "r") as file:
            data = np.asarray(file["data"][...], dtype=np.float32)
            label = np.asarray(file["label"][...]).astype(np.int64).reshape(-1)
            mask = np.asarray(file["mask"][...]) if "mask" in file else None
    except (OSError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise FormatError(f"{path} is no file of ScanObjectNN: {error!s:.200}.") from error
    _check(path, data, label, mask)
    return data, label, mask


def _check(path: Path, data: Float32Array, label: Any, mask: Any) -> None:
    if data.ndim != 3 or data.shape[2] != 3 or not data.size or len(label) != len(data):
        raise FormatError(
            f"{path}: data is {data.shape} and label {label.shape}; expected (S, N, 3) and (S,)."
        )
    if label.min() < 0 or label.max() >= len(CLASS_NAMES):
        raise FormatError(f"{path}: labels run from {label.min()} to {label.max()}; expected 0 to 14.")
    if mask is not None and mask.shape != data.shape[:2]:
        raise FormatError(f"{path}: mask is {mask.shape}; expected {data.shape[:2]}.")
    if not np.isfinite(data).all():
        raise FormatError(f"{path}: data holds values that are not finite.")


def _redrawn(
    data: Float32Array, foreground: BoolArray | None, count: int, drop: bool, seed: int
) -> tuple[Float32Array, BoolArray | None]:
    """Draw ``count`` points of each cloud, with their foreground beside them."""
    out = np.empty((len(data), count, 3), dtype=np.float32)
    kept = None if foreground is None else np.ones((len(data), count), dtype=np.bool_)
    for i, cloud in enumerate(data):
        index = np.arange(len(cloud))
        if drop and foreground is not None and foreground[i].any():
            index = np.flatnonzero(foreground[i])
        numbers = np.repeat(index[:, None], 3, axis=1).astype(np.float64)
        chosen = draw_points(numbers, count, seed=seed, key=str(i))[:, 0].astype(np.int64)
        out[i] = cloud[chosen]
        if kept is not None and foreground is not None:
            kept[i] = foreground[i][chosen]
    return out, kept
