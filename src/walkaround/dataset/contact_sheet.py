"""Pictures that let a person judge a pair: both objects from all around, the best-matching stills framed."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from walkaround.dataset.fingerprint import CROP_PX, Crop, object_crops
from walkaround.io.atomic import write_bytes
from walkaround.types import ByteArray

_COLUMNS = 6
_TILE = 200
_GAP = 8
_LABEL = 30
_PAPER = (244, 242, 240)
_INK = (60, 48, 38)
_FRAME = (120, 160, 40)


def write_contact_sheet(
    path: Path,
    folders: tuple[Path, Path],
    names: tuple[str, str],
    stills: tuple[str | None, str | None],
    note: str,
) -> None:
    """Write a JPEG that shows two sequences above each other.

    Parameters
    ----------
    folders, names
        The sequences' folders and names.
    stills
        Of each, the still to frame and to show first.
    note
        Why they are a pair, in a few words.

    Raises
    ------
    OutputError
        ``path`` cannot be written.
    """
    rows = [_title(note)]
    for folder, name, still in zip(folders, names, stills, strict=True):
        rows += [_title(name), _row(list(object_crops(folder)), still)]
    sheet = np.concatenate(rows, axis=0)
    _, data = cv2.imencode(".jpg", sheet, [cv2.IMWRITE_JPEG_QUALITY, 85])
    write_bytes(path, data.tobytes())


def _row(crops: list[Crop], still: str | None) -> ByteArray:
    """Lay out the best still, then others evenly spread."""
    best = [crop for crop in crops if crop.name == still]
    others = [crop for crop in crops if crop.name != still]
    room = _COLUMNS - len(best)
    if len(others) > room:
        others = [others[i] for i in np.linspace(0, len(others) - 1, room).round().astype(int)]
    row = _paper(_TILE + _GAP)
    for place, crop in enumerate([*best, *others]):
        left = _GAP + place * (_TILE + _GAP)
        row[:_TILE, left : left + _TILE] = _tile(crop)
        if crop.name == still:
            cv2.rectangle(row, (left, 1), (left + _TILE - 1, _TILE - 2), _FRAME, 3)
    return row


def _tile(crop: Crop) -> ByteArray:
    """Show the crop, its surroundings paler."""
    weight = (0.35 + 0.65 * crop.mask.astype(np.float32) / 255)[..., None]
    pale = crop.image_bgr * weight + np.array(_PAPER, np.float32) * (1 - weight)
    interpolation = cv2.INTER_AREA if _TILE < CROP_PX else cv2.INTER_LINEAR
    return np.asarray(
        cv2.resize(pale.astype(np.uint8), (_TILE, _TILE), interpolation=interpolation), np.uint8
    )


def _title(text: str) -> ByteArray:
    strip = _paper(_LABEL)
    plain = text.encode("ascii", "replace").decode()  # OpenCV's font knows no other letters
    cv2.putText(strip, plain, (_GAP, 21), cv2.FONT_HERSHEY_SIMPLEX, 0.55, _INK, 1, cv2.LINE_AA)
    return strip


def _paper(height: int) -> ByteArray:
    return np.full((height, _GAP + _COLUMNS * (_TILE + _GAP), 3), _PAPER, np.uint8)
