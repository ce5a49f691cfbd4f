"""The pictures of one sequence: thumbnail, sheets of stills and depth, cloud, plan; drawn once, then kept."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from walkaround.dataset.schema import SequenceRecord
from walkaround.io.atomic import output_error, write_bytes, write_json
from walkaround.quality import pictures
from walkaround.quality.parts import SequenceParts, read_parts
from walkaround.quality.plan import plan_svg
from walkaround.site.cloud import cloud_script, thinned
from walkaround.site.options import SiteOptions
from walkaround.types import ByteArray

FACTS_NAME = "media.json"
COLUMNS = 6
THUMB_PX = 224
_QUALITY = 78
_MAX_SHEET_PX = 65_000
"""A JPEG has no more than 65,535 rows."""


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """Pictures side by side in one file, in rows of :data:`COLUMNS`."""

    name: str
    images: tuple[str, ...]
    """File names of the stills they belong to; those that could not be read are left out."""
    cell_wh: tuple[int, int]

    @property
    def num_rows(self) -> int:
        return -(-len(self.images) // COLUMNS)


@dataclass(frozen=True, kw_only=True)
class Media:
    """What was drawn of a sequence, and what its page says about it."""

    key: str
    has_thumb: bool = False
    stills: Sheet | None = None
    depth: Sheet | None = None
    valid: tuple[float, ...] = ()
    """Share of pixels with depth, for each picture of the sheet."""
    depth_range: tuple[float, float] = (0.0, 1.0)
    """The inverse depths that the ends of the colour scale stand for, far first."""
    num_points: int = 0
    num_shown: int = 0
    plan: str = ""
    """Inline SVG."""


def kept_media(folder: Path, key: str) -> Media | None:
    """Return what an earlier run drew for this key; None when there is none, or a file of it is missing."""
    try:
        value = json.loads((folder / FACTS_NAME).read_text(encoding="utf-8"))
        if value["key"] != key:
            return None
        value |= {name: _sheet(value[name]) for name in ("stills", "depth")}
        value |= {name: tuple(value[name]) for name in ("valid", "depth_range")}
        media = Media(**value)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    names = [sheet.name for sheet in (media.stills, media.depth) if sheet]
    names += ["thumb.jpg"] * media.has_thumb + ["cloud.js", "cloud.jpg"] * bool(media.num_shown)
    return media if all((folder / name).is_file() for name in names) else None


def _sheet(value: dict[str, Any] | None) -> Sheet | None:
    if value is None:
        return None
    wide, tall = value["cell_wh"]
    return Sheet(name=value["name"], images=tuple(value["images"]), cell_wh=(int(wide), int(tall)))


def draw_media(
    sequence_dir: Path, record: SequenceRecord, folder: Path, key: str, *, options: SiteOptions
) -> Media:
    """Draw a sequence's pictures into ``folder``.

    Raises
    ------
    OutputError
        ``folder`` cannot be written.
    """
    _remove_old(folder)
    parts = read_parts(sequence_dir, record)
    width = _width(len(record.frames), options)
    stills = _draw_stills(parts, folder, width)
    depth, valid, limits = _draw_depth(parts, folder, width)
    has_cloud = parts.cloud is not None and options.points > 0
    media = Media(
        key=key,
        has_thumb=_draw_thumb(parts, folder),
        stills=stills,
        depth=depth,
        valid=valid,
        depth_range=limits,
        num_points=0 if parts.cloud is None else len(parts.cloud.points_in_world),
        num_shown=_draw_cloud(parts, folder, options.points) if has_cloud else 0,
        plan=plan_svg(parts.model, parts.cloud, in_order=parts.in_order)
        if parts.model is not None and parts.model.views
        else "",
    )
    write_json(folder / FACTS_NAME, asdict(media))
    return media


def _remove_old(folder: Path) -> None:
    """Remove what an earlier run drew, the facts about it first."""
    try:
        for name in (FACTS_NAME, "thumb.jpg", "stills.jpg", "depth.jpg", "cloud.js", "cloud.jpg"):
            (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise output_error(folder, error) from error


def _width(count: int, options: SiteOptions) -> int:
    return options.thumb_px if count <= 40 else options.thumb_px * 3 // 4 if count <= 80 else 160


def _draw_stills(parts: SequenceParts, folder: Path, width: int) -> Sheet | None:
    found: dict[str, ByteArray] = {}
    for frame in parts.record.frames:
        mask = (parts.folder / "masks" / frame.image).with_suffix(".png")
        image = pictures.still(parts.folder / "images" / frame.image, mask, width)
        if image is not None:
            found[frame.image] = image
    return _write_sheet(folder / "stills.jpg", found)


def _draw_depth(
    parts: SequenceParts, folder: Path, width: int
) -> tuple[Sheet | None, tuple[float, ...], tuple[float, float]]:
    maps = {}
    for frame in parts.record.frames:
        path = (parts.folder / "depth" / frame.image).with_suffix(".png")
        depth = pictures.read_depth(path, parts.record.depth_scale, width) if frame.registered else None
        if depth is not None:
            maps[frame.image] = depth
    limits = pictures.inverse_depth_range(list(maps.values()))
    images = {name: pictures.coloured_depth(depth, limits) for name, depth in maps.items()}
    valid = tuple(round(float(np.isfinite(depth).mean()), 4) for depth in maps.values())
    return _write_sheet(folder / "depth.jpg", images), valid, limits


def _draw_cloud(parts: SequenceParts, folder: Path, num_points: int) -> int:
    """Write the cloud's script and its picture; return how many points are shown."""
    if parts.cloud is None:
        return 0
    cloud, spacing = thinned(parts.cloud, num_points)
    script = cloud_script(cloud, parts.model, parts.front_deg, spacing)
    write_bytes(folder / "cloud.js", script.encode())
    (image,) = pictures.cloud_sides(cloud, [parts.front_deg], size=420)
    _write_jpeg(folder / "cloud.jpg", image)
    return len(cloud.points_in_world)


def _draw_thumb(parts: SequenceParts, folder: Path) -> bool:
    """Write a square picture of the object from the middle of the frames; False when no still is readable."""
    frames = [frame for frame in parts.record.frames if frame.registered] or list(parts.record.frames)
    for frame in frames[len(frames) // 2 :]:
        image = pictures.read_image(parts.folder / "images" / frame.image)
        if image is None:
            continue
        mask_path = (parts.folder / "masks" / frame.image).with_suffix(".png")
        mask = pictures.read_image(mask_path, cv2.IMREAD_GRAYSCALE)
        _write_jpeg(folder / "thumb.jpg", _square(image, mask))
        return True
    return False


def _square(image: ByteArray, mask: ByteArray | None) -> ByteArray:
    """Cut a square around the object, or the middle of the image."""
    height, width = image.shape[:2]
    left, top, wide, tall = 0, 0, width, height
    if mask is not None and mask.shape == (height, width) and (mask > 127).any():
        left, top, wide, tall = cv2.boundingRect((mask > 127).astype(np.uint8))
        side = round(1.3 * max(wide, tall))
    else:
        side = min(width, height)
    side = int(np.clip(side, min(48, width, height), min(width, height)))
    x = int(np.clip(left + (wide - side) // 2, 0, width - side))
    y = int(np.clip(top + (tall - side) // 2, 0, height - side))
    crop = image[y : y + side, x : x + side]
    return np.asarray(cv2.resize(crop, (THUMB_PX, THUMB_PX), interpolation=cv2.INTER_AREA))


def _write_sheet(path: Path, images: dict[str, ByteArray]) -> Sheet | None:
    """Lay pictures out in rows, each in a cell of the first one's size, or smaller where a JPEG would end."""
    if not images:
        return None
    tall, wide = next(iter(images.values())).shape[:2]
    scale = min(1.0, _MAX_SHEET_PX / (-(-len(images) // COLUMNS) * tall))
    tall, wide = max(1, int(tall * scale)), max(1, int(wide * scale))
    sheet = Sheet(name=path.name, images=tuple(images), cell_wh=(wide, tall))
    page = np.full((sheet.num_rows * tall, COLUMNS * wide, 3), 128, np.uint8)
    for place, image in enumerate(images.values()):
        row, column = divmod(place, COLUMNS)
        fitted = _fitted(image, wide, tall)
        y = row * tall + (tall - fitted.shape[0]) // 2
        x = column * wide + (wide - fitted.shape[1]) // 2
        page[y : y + fitted.shape[0], x : x + fitted.shape[1]] = fitted
    _write_jpeg(path, page)
    return sheet


def _fitted(image: ByteArray, wide: int, tall: int) -> ByteArray:
    scale = min(wide / image.shape[1], tall / image.shape[0])
    if scale >= 1:
        return image
    size: Sequence[int] = (max(1, int(image.shape[1] * scale)), max(1, int(image.shape[0] * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA))


def _write_jpeg(path: Path, image_bgr: ByteArray) -> None:
    flags = [cv2.IMWRITE_JPEG_QUALITY, _QUALITY, cv2.IMWRITE_JPEG_OPTIMIZE, 1]
    _, data = cv2.imencode(".jpg", image_bgr, flags)
    write_bytes(path, data.tobytes())
