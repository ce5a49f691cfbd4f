"""What is missing from a picture: what a mask shows in white, or what is fully transparent."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from walkaround.errors import UsageError
from walkaround.restore.picture import Picture, read_picture
from walkaround.types import BoolArray

MISSING_FROM = 16
"""Of 255: a pixel of the mask as light as this is missing. The soft edges of drawn text belong to it; most of
what JPEG compression leaves around an edge is darker."""
_WHITE_FROM = 128
"""Of 255: a mask whose lightest pixel is darker was not meant as one."""


def known_pixels(picture: Picture, mask: Path | None, name: str) -> BoolArray:
    """Return (H, W): what is not missing.

    Parameters
    ----------
    mask
        File of a picture that is white where pixels are missing; None takes fully transparent pixels.
    name
        Of the picture, for messages.

    Raises
    ------
    InputError
        The mask cannot be read.
    UsageError
        Nothing is missing, or the mask has another size.
    """
    if mask is None:
        return _not_transparent(picture, name)
    shown = read_picture(mask)
    if shown.image.shape[:2] != picture.image.shape[:2]:
        sizes = [f"{image.shape[1]} x {image.shape[0]}" for image in (shown.image, picture.image)]
        raise UsageError(f"--mask {mask} has {sizes[0]} px, {name} has {sizes[1]}. Make them equal.")
    lightness = shown.image.mean(2)
    if lightness.max() < (_WHITE_FROM - 0.5) / 255:
        seen = _value(float(lightness.max()), shown)
        raise UsageError(
            f"--mask {mask} is white nowhere: its lightest pixel has {seen}, so nothing would be filled. "
            "Draw what is missing in white on black; in a mask of labels, make those to fill white."
        )
    return np.asarray(lightness < (MISSING_FROM - 0.5) / 255)


def made_opaque(picture: Picture) -> Picture:
    """Return the picture with fully transparent pixels opaque, those partly transparent as they are."""
    if picture.alpha is None:
        return picture
    alpha = np.where(picture.alpha > 0, picture.alpha, 1).astype(np.float32)
    return dataclasses.replace(picture, alpha=None if (alpha == 1).all() else alpha)


def _not_transparent(picture: Picture, name: str) -> BoolArray:
    remedy = "so nothing is missing. Say what is missing with --mask FILE."
    if picture.alpha is None:
        raise UsageError(f"{name} has no transparent pixels, {remedy}")
    if picture.alpha.min() > 0:
        seen = _value(float(picture.alpha.min()), picture)
        raise UsageError(
            f"{name} has no fully transparent pixels (the most transparent has alpha {seen}), {remedy}"
        )
    return np.asarray(picture.alpha > 0)


def _value(share: float, picture: Picture) -> str:
    """Return a number of 0..1 as it is in the picture's file."""
    top = 2**picture.bits - 1
    return f"{round(share * top)} of {top}"
