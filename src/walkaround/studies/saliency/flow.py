"""Where pixels of one view lie in the next: OpenCV's flow, exact flow, files; and where to believe it.

A flow (2, S, S), x and y in pixels: the first image shows at p what the second shows at p + flow.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from walkaround.dataset.torch.crop import Crop
from walkaround.dataset.torch.view import LoadedView
from walkaround.errors import FormatError, InputError
from walkaround.types import BoolArray, ByteArray, Float32Array, FloatArray

_DIS_PX = 256
"""Smaller images are enlarged to this: DIS works at half the size and loses what is small."""
_FLO_MAGIC = 202021.25


def dis_flow(first_bgr: ByteArray, second_bgr: ByteArray) -> Float32Array:
    """Return dense inverse search flow (Kroeger et al. 2016, arXiv:1603.03590) of square images."""
    size = len(first_bgr)
    large = max(size, _DIS_PX)
    grey = [
        cv2.resize(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), (large, large), interpolation=cv2.INTER_LINEAR)
        for image in (first_bgr, second_bgr)
    ]
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(grey[0], grey[1], None)
    small = cv2.resize(flow, (size, size), interpolation=cv2.INTER_AREA) * np.float32(size / large)
    return np.ascontiguousarray(small.transpose(2, 0, 1), dtype=np.float32)


def exact_flow(
    first: LoadedView, second: LoadedView, second_from_first: FloatArray
) -> tuple[Float32Array, BoolArray]:
    """Return the flow that depth and cameras give, and where the first view has depth, (S, S).

    Parameters
    ----------
    first, second
        Pinhole views; the first one with depth.
    second_from_first
        (4, 4), from the first camera's axes to the second's.

    Raises
    ------
    FormatError
        The first view has no depth.
    """
    if first.depth is None or first.depth_valid is None:
        raise FormatError("the first view has no depth")
    size = len(first.depth)
    y, x = np.mgrid[0:size, 0:size] + 0.5  # the centre of the first pixel is (0.5, 0.5)
    rays = np.stack([x, y, np.ones_like(x)], axis=-1) @ np.linalg.inv(first.K).T
    points = (rays * first.depth[..., None]) @ second_from_first[:3, :3].T + second_from_first[:3, 3]
    seen = points @ second.K.T
    in_front = first.depth_valid & (points[..., 2] > 1e-6)
    where = seen[..., :2] / np.where(in_front, seen[..., 2], 1)[..., None]
    flow = np.where(in_front[..., None], where - np.stack([x, y], axis=-1), 0)
    return np.ascontiguousarray(flow.transpose(2, 0, 1), dtype=np.float32), in_front


def read_flow(path: Path) -> Float32Array:
    """Read a flow (2, H, W) from Middlebury's ``.flo``, or from ``.npy`` of (H, W, 2) or (2, H, W).

    Raises
    ------
    InputError
        It is missing or not of these forms.
    """
    try:
        if path.suffix == ".npy":
            values = np.load(path, allow_pickle=False)
        else:
            values = _read_flo(path.read_bytes())
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"The flow {path} cannot be read ({error}). Write it as .flo or .npy.") from error
    if values.ndim == 3 and values.shape[2] == 2:
        values = values.transpose(2, 0, 1)
    if values.ndim != 3 or values.shape[0] != 2 or not np.isfinite(values).all():
        raise InputError(f"The flow {path} is {values.shape}; (H, W, 2) finite numbers were expected.")
    return np.ascontiguousarray(values, dtype=np.float32)


def _read_flo(data: bytes) -> Float32Array:
    if len(data) < 12 or np.frombuffer(data, "<f4", 1)[0] != _FLO_MAGIC:
        raise ValueError("no .flo file")
    width, height = (int(n) for n in np.frombuffer(data, "<i4", 2, 4))
    if width < 1 or height < 1 or len(data) != 12 + 8 * width * height:
        raise ValueError(f"{width} x {height} pixels do not fit {len(data)} bytes")
    return np.asarray(np.frombuffer(data, "<f4", offset=12).reshape(height, width, 2), np.float32)


def find_flow(folder: Path, key: str, first: str, second: str) -> Path:
    """Return the file of the flow from image ``first`` to ``second`` of a scene.

    Raises
    ------
    InputError
        There is none.
    """
    stem = folder / key / f"{Path(first).stem}_to_{Path(second).stem}"
    for suffix in (".flo", ".npy"):
        path = stem.with_name(stem.name + suffix)
        if path.is_file():
            return path
    raise InputError(f"There is no flow {stem}.flo or .npy. Write it, or use --flow dis.")


def cropped_flow(flow: Float32Array, crop: Crop, size_wh: tuple[int, int]) -> Float32Array:
    """Return the flow of a crop, given that of whole images that are cropped alike.

    Parameters
    ----------
    flow
        (2, H, W) of the images, or of smaller copies.
    size_wh
        Of the images that the crop is a part of.

    Raises
    ------
    InputError
        The flow has another shape than the images.
    """
    width, height = size_wh
    if abs(flow.shape[1] - flow.shape[2] * height / width) > 1:
        raise InputError(
            f"A flow of {flow.shape[2]} x {flow.shape[1]} pixels is not of images of {width} x {height}. "
            "Give that of the images, or of smaller copies with the same sides' ratio."
        )
    at = crop.left + (np.arange(crop.size_px, dtype=np.float32) + 0.5) / np.float32(crop.scale)
    down = crop.top + (np.arange(crop.size_px, dtype=np.float32) + 0.5) / np.float32(crop.scale)
    per_x, per_y = flow.shape[2] / width, flow.shape[1] / height
    x, y = np.meshgrid(at * per_x - 0.5, down * per_y - 0.5)  # OpenCV's centre of the first pixel is 0
    x, y = x.astype(np.float32), y.astype(np.float32)
    moved = [cv2.remap(part, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE) for part in flow]
    factors = (crop.scale / per_x, crop.scale / per_y)
    return np.stack([part * np.float32(f) for part, f in zip(moved, factors, strict=True)])


def confirmed(
    there: Float32Array,
    back: Float32Array,
    tolerance_px: float,
    known: tuple[BoolArray, BoolArray] | None = None,
) -> BoolArray:
    """Return where the way there (2, S, S) and back ends near its start, within the image: (S, S).

    Parameters
    ----------
    known
        Where either flow is known; everywhere when not given.
    """
    size = there.shape[1]
    y, x = np.mgrid[0:size, 0:size]
    column, row = np.rint(x + there[0]).astype(int), np.rint(y + there[1]).astype(int)
    inside = (column >= 0) & (row >= 0) & (column < size) & (row < size)
    column, row = np.clip(column, 0, size - 1), np.clip(row, 0, size - 1)
    off = there + back[:, row, column]
    near = inside & (np.hypot(off[0], off[1]) <= tolerance_px)
    return near if known is None else near & known[0] & known[1][row, column]
