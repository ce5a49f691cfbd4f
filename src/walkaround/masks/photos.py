"""Masks of a folder of photos, without cameras: by a learned model, or by co-segmentation."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from walkaround.errors import InputError, UsageError
from walkaround.io.atomic import write_bytes
from walkaround.io.depth import write_grey
from walkaround.io.exif import read_exif
from walkaround.io.image import PHOTO_SUFFIXES, as_stored, decode_photo, natural_order, read_file, shrink
from walkaround.masks.central import central_part, fill_holes
from walkaround.masks.cosegment import Cosegmented, cosegment
from walkaround.types import BoolArray, ByteArray, Progress, no_progress

logger = logging.getLogger(__name__)

OVERVIEW_NAME = "overview.png"
_TILE_PX = 240
_MAX_NAMED = 20
"""Broken photos named in one message."""


@dataclass(frozen=True, kw_only=True)
class PhotoMasks:
    """What was written."""

    shares: dict[str, float]
    """Share of the frame that is object, by mask file."""
    others: tuple[str, ...] = ()
    """PNG files that were in the folder before and belong to none of these photos."""

    @property
    def empty(self) -> list[str]:
        """Mask files in which nothing was found."""
        return [name for name, share in self.shares.items() if share == 0]


def write_photo_masks(
    source: Path,
    out: Path,
    *,
    model: Path | None = None,
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> PhotoMasks:
    """Write ``<stem>.png`` (8 bit, 0 or 255) for every photo of a folder, and an overview of all outlines.

    A mask has the pixels of its file as they are stored: where EXIF asks for a turn, neither is turned.

    Parameters
    ----------
    model
        A learned model's path or name; without it the photos are segmented together.

    Raises
    ------
    InputError
        The folder holds no photos, photos cannot be read (all are named), or the model cannot be downloaded.
    UsageError
        Two photos would get the same mask, a mask exists already, or onnxruntime is missing.
    OutputError
        ``out`` cannot be written.
    """
    paths = _list_photos(source)
    if not overwrite:
        _refuse_existing(out, [f"{path.stem}.png" for path in paths] + [OVERVIEW_NAME])
    images, orientations = _read_photos(paths)
    results = segment_photos(images, model=model, progress=lambda share: progress(0.9 * share))
    shares = {}
    for path, orientation, result in zip(paths, orientations, results, strict=True):
        mask = np.where(result.mask, 255, 0).astype(np.uint8)
        write_grey(out / f"{path.stem}.png", as_stored(mask, orientation))
        shares[f"{path.stem}.png"] = float(result.mask.mean())
    sheet = draw_overview(images, [result.mask for result in results])
    write_bytes(out / OVERVIEW_NAME, cv2.imencode(".png", sheet[..., ::-1])[1].tobytes())
    progress(1.0)
    others = sorted(path.name for path in out.glob("*.png") if path.name not in {*shares, OVERVIEW_NAME})
    return PhotoMasks(shares=shares, others=tuple(others))


def segment_photos(
    images_srgb: list[ByteArray], *, model: Path | None = None, progress: Progress = no_progress
) -> list[Cosegmented]:
    """Segment (H, W, 3) photos by a learned model, or together without one."""
    if model is None:
        return cosegment(images_srgb, progress=progress)
    from walkaround.masks.onnx import load_model

    network = load_model(model)
    results = []
    for number, image in enumerate(images_srgb):
        probability = network.fg_probability(image)
        mask = fill_holes(central_part(probability > 0.5), share=0.001)
        results.append(Cosegmented(mask=mask, fg_probability=probability))
        progress((number + 1) / len(images_srgb))
    return results


def draw_overview(images_srgb: list[ByteArray], masks: list[BoolArray], columns: int = 4) -> ByteArray:
    """Return one (H, W, 3) picture of all photos, what is not object darkened, the outlines drawn."""
    columns = min(columns, len(images_srgb))
    rows = -(-len(images_srgb) // columns)
    sheet = np.full((rows * _TILE_PX, columns * _TILE_PX, 3), 255, np.uint8)
    for number, (image, mask) in enumerate(zip(images_srgb, masks, strict=True)):
        small = shrink(image, _TILE_PX - 4)
        size = small.shape[1], small.shape[0]
        inside = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
        tile = np.where(inside[..., None] > 0, small, small // 3).astype(np.uint8)
        outlines, _ = cv2.findContours(inside, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(tile, outlines, -1, (0, 255, 0), 1)
        top = number // columns * _TILE_PX + (_TILE_PX - size[1]) // 2
        left = number % columns * _TILE_PX + (_TILE_PX - size[0]) // 2
        sheet[top : top + size[1], left : left + size[0]] = tile
    return sheet


def _list_photos(source: Path) -> list[Path]:
    try:
        files = [path for path in source.iterdir() if path.is_file() and not path.name.startswith(".")]
    except OSError as error:
        raise InputError(f"{source} cannot be opened as a folder ({error.strerror}).") from error
    paths = natural_order(path for path in files if path.suffix.lower() in PHOTO_SUFFIXES)
    if not paths:
        raise InputError(f"{source} holds no photos ({', '.join(sorted(PHOTO_SUFFIXES))}).")
    stem, count = Counter(path.stem for path in paths).most_common(1)[0]
    if count > 1:
        raise UsageError(
            f"{count} photos in {source} are named {stem}; their masks would be one file. Rename."
        )
    if any(path.stem == Path(OVERVIEW_NAME).stem for path in paths):
        raise UsageError(f"A photo in {source} is named like {OVERVIEW_NAME}, the overview. Rename it.")
    return paths


def _read_photos(paths: list[Path]) -> tuple[list[ByteArray], list[int]]:
    """Return upright photos and their EXIF orientations; name every one that cannot be read."""
    images, orientations, broken = [], [], []
    for path in paths:
        try:
            data = read_file(path)
            images.append(decode_photo(data, str(path)).image_srgb)
            orientations.append(read_exif(data).orientation)
        except InputError as error:
            broken.append(str(error))
    if len(broken) == 1:
        raise InputError(broken[0])
    if broken:
        rest = [f"and {len(broken) - _MAX_NAMED} more"] if len(broken) > _MAX_NAMED else []
        lines = "\n".join([*broken[:_MAX_NAMED], *rest])
        raise InputError(f"{len(broken)} of {len(paths)} photos cannot be read:\n{lines}")
    return images, orientations


def _refuse_existing(out: Path, names: list[str]) -> None:
    there = [name for name in names if (out / name).exists()]
    if there:
        raise UsageError(f"{out / there[0]} exists already. Choose another --out, or give --overwrite.")
