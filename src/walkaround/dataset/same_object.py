"""Do two sequences show the same object? Local features of similar views must agree on one affine map.

SIFT features (Lowe, IJCV 2004, doi:10.1023/B:VISI.0000029664.99615.94; RootSIFT, CVPR 2012) inside the masks
of the most similar stills, matched both ways with a ratio test, then RANSAC. Objects that carry the same
print agree too; only a person can tell whether it is one object or two of a kind.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from walkaround.dataset.fingerprint import Crop, layout_of
from walkaround.types import ByteArray, Float32Array

_NUM_FEATURES = 300
_NUM_VIEWS = 4
_RATIO = 0.8
_TOLERANCE_PX = 6.0
_MIN_STRETCH, _MAX_STRETCH = 0.4, 2.5


@dataclass(frozen=True, kw_only=True)
class View:
    """What one still contributes."""

    name: str
    layout: Float32Array  # (256,)
    points_px: Float32Array  # (F, 2), in the crop
    descriptors: ByteArray  # (F, 128)


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """The two stills that agree best."""

    num_matches: int
    still_a: str = ""
    still_b: str = ""


def find_views(crops: list[Crop]) -> list[View]:
    """Return the features of an object's crops."""
    sift = cv2.SIFT.create(_NUM_FEATURES, contrastThreshold=0.02)
    views = []
    for crop in crops:
        inside = cv2.erode((crop.mask > 127).astype(np.uint8) * 255, np.ones((7, 7), np.uint8))
        grey = cv2.cvtColor(crop.image_bgr, cv2.COLOR_BGR2GRAY)
        points, descriptors = sift.detectAndCompute(grey, inside)
        views.append(
            View(
                name=crop.name,
                layout=layout_of(crop).ravel(),
                points_px=np.array([point.pt for point in points], np.float32).reshape(-1, 2),
                descriptors=np.empty((0, 128), np.uint8)
                if descriptors is None
                else descriptors.astype(np.uint8),
            )
        )
    return views


def agreement(views_a: list[View], views_b: list[View]) -> Agreement:
    """Match the most similar stills of two sequences and return the best agreement."""
    best = Agreement(num_matches=0)
    if not views_a or not views_b:
        return best
    layouts = [np.stack([view.layout for view in views]) for views in (views_a, views_b)]
    apart = np.linalg.norm(layouts[0][:, None] - layouts[1][None], axis=2)
    for place in np.argsort(apart, axis=None, kind="stable")[:_NUM_VIEWS]:
        a, b = np.unravel_index(place, apart.shape)
        count = _count_matches(views_a[a], views_b[b])
        if count > best.num_matches:
            best = Agreement(num_matches=count, still_a=views_a[a].name, still_b=views_b[b].name)
    return best


def _count_matches(a: View, b: View) -> int:
    """Return how many features agree on one affine map that neither mirrors nor distorts much."""
    if min(len(a.descriptors), len(b.descriptors)) < 8:
        return 0
    roots = [np.sqrt(view.descriptors.astype(np.float32)) for view in (a, b)]
    roots = [root / np.maximum(np.linalg.norm(root, axis=1, keepdims=True), 1e-6) for root in roots]
    likeness = roots[0] @ roots[1].T
    two = np.argpartition(-likeness, 1, axis=1)[:, :2]
    rows = np.arange(len(likeness))
    two = np.take_along_axis(two, np.argsort(-likeness[rows[:, None], two], axis=1), axis=1)
    first, second = likeness[rows, two[:, 0]], likeness[rows, two[:, 1]]
    mutual = likeness.argmax(axis=0)[two[:, 0]] == rows
    kept = mutual & (2 - 2 * first < _RATIO**2 * (2 - 2 * second))
    if np.count_nonzero(kept) < 6:
        return 0
    affine, inliers = cv2.estimateAffine2D(
        a.points_px[kept], b.points_px[two[kept, 0]], ransacReprojThreshold=_TOLERANCE_PX
    )
    if affine is None or np.linalg.det(affine[:, :2]) <= 0:
        return 0
    stretch = np.linalg.svd(affine[:, :2], compute_uv=False)
    return int(inliers.sum()) if stretch[1] >= _MIN_STRETCH and stretch[0] <= _MAX_STRETCH else 0
