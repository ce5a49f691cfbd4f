"""What moves before a standing camera: where to find features of an object that a hand or table turns.

The frames are laid over each other by the homography of what lies at the border (a standing camera that
sways in the hand only turns, and a turning camera is a homography). A pixel's background is the colour that
most frames show there; what differs from it moves. Nothing is known about an object that always covers its
place in one plain colour: it has no features to lose there either.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np

from walkaround.errors import SequenceRejected
from walkaround.io.depth import write_grey
from walkaround.types import BoolArray, ByteArray, FloatArray

LONG_SIDE_PX = 480
"""The frames are compared at this size."""
BORDER = 0.22
"""Share of the picture's width and height on each side that is looked at for the camera's own motion."""
MIN_SHARE, MAX_SHARE = 0.004, 0.75
"""Of the picture: less that moves is no object, more is no background."""
MIN_RECOGNISED = 0.8
"""Share of the frames whose background must be the middle frame's."""
MAX_STRETCH = 1.12
"""Of rays by the map between two frames: 1 for a camera that only turns, more for a wrong focal length."""
_MIN_SUPPORT = 0.25
_MIN_LEVELS = 14.0
_MIN_MATCHES = 12


@dataclass(frozen=True, kw_only=True)
class Motion:
    """What moves in each frame."""

    moving: list[BoolArray]  # (H, W) each, at the frames' own size
    share: float
    """Median share of the picture that moves."""
    sway_px: float
    """Median displacement of the background against the middle frame, at a long side of 480 px."""
    recognised: float
    """Share of the frames whose border shows the middle frame's background, turned at most."""

    @property
    def stands(self) -> bool:
        """True when the frames show one background from one place, and something before it."""
        return self.recognised >= MIN_RECOGNISED and MIN_SHARE <= self.share <= MAX_SHARE


def check_subject(motion: Motion) -> None:
    """Raise :class:`SequenceRejected` unless an object can be told from what stands."""
    if not MIN_SHARE <= motion.share <= MAX_SHARE:
        raise SequenceRejected(
            "static_camera",
            f"The camera stands, and {100 * motion.share:.1f} % of the picture moves: no object can be told "
            "from its background. Walk around the object instead.",
        )


def write_moving(motion: Motion, names: list[str], mask_dir: Path) -> None:
    """Write ``<image name>.png``, COLMAP's feature masks: what stands is 0 and ignored."""
    mask_dir.mkdir(parents=True, exist_ok=True)
    for name, moving in zip(names, motion.moving, strict=True):
        write_grey(mask_dir / f"{name}.png", moving.astype(np.uint8) * 255)


def find_motion(images: list[ByteArray]) -> Motion:
    """Return what moves in pictures (H, W, 3) of one size that a standing camera took."""
    small = [_small(image) for image in images]
    middle = len(small) // 2
    found = [_background_homography(picture, small[middle]) for picture in small]
    to_middle = [np.eye(3) if homography is None else homography for homography in found]
    size = small[0].shape[1], small[0].shape[0]
    laid, seen = [], []
    for picture, homography in zip(small, to_middle, strict=True):
        laid.append(cv2.warpPerspective(picture, homography, size, flags=cv2.INTER_LINEAR))
        seen.append(cv2.warpPerspective(np.ones(picture.shape[:2], np.uint8), homography, size) > 0)
    different = _differs(_same_light(laid, seen), seen)
    moving = []
    for image, homography, change in zip(images, to_middle, different, strict=True):
        back = cv2.warpPerspective(change.astype(np.uint8), np.linalg.inv(homography), size)
        full = cv2.resize(_closed(back), (image.shape[1], image.shape[0]), interpolation=cv2.INTER_NEAREST)
        moving.append(full > 0)
    corners = np.array([[0, 0], [size[0], 0], [0, size[1]], [size[0], size[1]]], np.float64)[:, None]
    sway = [np.linalg.norm(cv2.perspectiveTransform(corners, h) - corners, axis=2).mean() for h in to_middle]
    return Motion(
        moving=moving,
        share=float(np.median([mask.mean() for mask in moving])),
        sway_px=float(np.median(sway)),
        recognised=float(np.mean([homography is not None for homography in found])),
    )


def _small(image: ByteArray) -> ByteArray:
    scale = min(1.0, LONG_SIDE_PX / max(image.shape[:2]))
    size = max(16, round(image.shape[1] * scale)), max(16, round(image.shape[0] * scale))
    return np.asarray(cv2.GaussianBlur(cv2.resize(image, size, interpolation=cv2.INTER_AREA), (0, 0), 0.8))


def _background_homography(picture: ByteArray, reference: ByteArray) -> FloatArray | None:
    """Return the 3x3 map from a picture to the reference by what lies near the border of both.

    The identity when the border stands; None when it shows too little to tell, or another place.
    """
    if picture is reference:
        return np.eye(3)
    height, width = reference.shape[:2]
    border = np.full((height, width), 255, np.uint8)
    top, left = round(BORDER * height), round(BORDER * width)
    border[top : height - top, left : width - left] = 0
    sift = cv2.SIFT.create(nfeatures=800, contrastThreshold=0.013)
    found = [sift.detectAndCompute(cv2.cvtColor(p, cv2.COLOR_BGR2GRAY), border) for p in (picture, reference)]
    (here, a), (there, b) = found
    if a is None or b is None or len(b) < 2:
        return None
    pairs = [m for m, *n in cv2.BFMatcher().knnMatch(a, b, k=2) if n and m.distance < 0.75 * n[0].distance]
    if len(pairs) < _MIN_MATCHES:
        return None
    source = np.array([here[m.queryIdx].pt for m in pairs], np.float32)
    target = np.array([there[m.trainIdx].pt for m in pairs], np.float32)
    if np.median(np.linalg.norm(source - target, axis=1)) < 1.0:
        return np.eye(3)
    cv2.setRNGSeed(0)
    homography, inliers = cv2.findHomography(source, target, cv2.RANSAC, 2.0)
    if homography is None or int(inliers.sum()) < max(_MIN_MATCHES, 0.5 * len(pairs)):
        return None
    return np.asarray(homography, np.float64) if _turns_only(homography, (width, height)) else None


def _turns_only(homography: FloatArray, size: tuple[int, int]) -> bool:
    """Return True when a camera of about a phone's focal length makes this 3x3 map by turning on its spot.

    A plane seen from two places gives a homography as well (a table in a walk), but one that is no rotation
    between rays: Hartley and Zisserman 2004, 10.1017/CBO9780511811685, chapters 8 and 13.
    """
    K = np.array([[max(size), 0, size[0] / 2], [0, max(size), size[1] / 2], [0, 0, 1.0]])
    between = np.linalg.inv(K) @ homography @ K
    values = np.linalg.svd(between / np.cbrt(np.linalg.det(between)), compute_uv=False)
    return bool(values[0] < MAX_STRETCH and values[-1] > 1 / MAX_STRETCH)


def _same_light(laid: list[ByteArray], seen: list[BoolArray]) -> list[ByteArray]:
    """Shift each picture's colours so that they are, in the median, those that most pictures show."""
    usual = np.median(np.stack(laid), axis=0)
    shifted = []
    for picture, there in zip(laid, seen, strict=True):
        shift = np.median((usual - picture)[there], axis=0) if there.any() else np.zeros(3)
        shifted.append(np.clip(picture + np.rint(shift), 0, 255).astype(np.uint8))
    return shifted


def _differs(laid: list[ByteArray], seen: list[BoolArray]) -> list[BoolArray]:  # (h, w) each
    """Return where each picture differs from the colour that most of them show."""
    steps = [_distance(a, b) for a, b in pairwise(laid)]
    limit = max(_MIN_LEVELS, 5.0 * float(np.median(steps)))
    best = np.zeros(laid[0].shape[:2], np.int32)
    background = np.zeros_like(laid[0])
    for picture, there in zip(laid, seen, strict=True):
        votes = np.zeros(best.shape, np.int32)
        for other, present in zip(laid, seen, strict=True):
            votes += (_distance(picture, other) < limit) & present
        better = there & (votes > best)
        best[better], background[better] = votes[better], picture[better]
    unknown = best < _MIN_SUPPORT * np.maximum(np.sum(seen, axis=0), 1)
    return [
        ((_distance(picture, background) >= limit) | unknown) & there
        for picture, there in zip(laid, seen, strict=True)
    ]


def _distance(a: ByteArray, b: ByteArray) -> ByteArray:  # (h, w)
    """Largest difference over the three channels."""
    blue, green, red = cv2.split(cv2.absdiff(a, b))
    return np.asarray(cv2.max(cv2.max(blue, green), red))


def _closed(change: ByteArray) -> ByteArray:
    """Drop specks, close gaps, fill holes: a region with its outline a little outside."""
    ellipse = cv2.getStructuringElement
    opened = cv2.morphologyEx(change, cv2.MORPH_OPEN, ellipse(cv2.MORPH_ELLIPSE, (3, 3)))
    closed = cv2.morphologyEx(opened, cv2.MORPH_CLOSE, ellipse(cv2.MORPH_ELLIPSE, (15, 15)))
    _, labels, stats, _ = cv2.connectedComponentsWithStats(closed, connectivity=8)
    large = stats[:, cv2.CC_STAT_AREA] > 0.003 * change.size
    large[0] = False
    kept = large[labels].astype(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(1 - kept, connectivity=4)
    small = stats[:, cv2.CC_STAT_AREA] < 0.02 * change.size
    small[0] = False
    filled = kept | small[labels].astype(np.uint8)
    return np.asarray(cv2.dilate(filled, ellipse(cv2.MORPH_ELLIPSE, (5, 5))))
