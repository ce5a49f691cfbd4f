"""Which masks cannot show the object that the others show.

The masks' outlines, taken through the cameras, carve a solid out of space (the visual hull). It is carved by
the votes of most views, so a few wrong masks change it little; a view whose mask and the solid hardly overlap
contradicts the rest. Masks are dilated by the grid's spacing, so that thin parts are not lost between points.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from walkaround.io.colmap_tracks import RawCamera, RawImage
from walkaround.types import BoolArray, FloatArray

MIN_VIEWS = 5
GRID = 28
"""Points along each side of the cube that is carved."""
MIN_VOTES = 0.7
"""Share of the views that show a point, of which it lies in the mask, for it to belong to the solid."""
MIN_INSIDE = 0.5
"""A good mask, dilated, covers at least this share of the solid's points in its image."""
MIN_COVERED = 0.25
"""The solid covers at least this share of a good mask."""
FISHEYE = frozenset({5, 7, 8, 9, 10})


@dataclass(frozen=True, kw_only=True)
class SmallMask:
    """A mask at a small size with its camera, lens distortion left out."""

    image: str
    mask: BoolArray  # (h, w)
    rotation: FloatArray  # (3, 3) world to camera
    translation: FloatArray  # (3,)
    focal: FloatArray  # (2,) in pixels of the mask
    middle: FloatArray  # (2,)
    usable: bool = True

    @classmethod
    def of(cls, mask: BoolArray, name: str, image: RawImage, camera: RawCamera) -> SmallMask:
        """Scale a camera to a small mask."""
        from walkaround.dataset.audit.geometry import pose_of

        scale = np.array([mask.shape[1] / camera.width, mask.shape[0] / camera.height])
        rotation, translation = pose_of(image)
        return cls(
            image=name,
            mask=mask,
            rotation=rotation,
            translation=translation,
            focal=np.array([camera.focals[0], camera.focals[-1]]) * scale,
            middle=np.array(camera.principal_point) * scale,
            usable=camera.model_id not in FISHEYE,
        )

    @property
    def centre(self) -> FloatArray:
        return np.asarray(-self.rotation.T @ self.translation)

    def ray(self) -> FloatArray:
        """Return the unit direction in the world in which the mask's middle lies."""
        rows, columns = np.nonzero(self.mask)
        pixel = np.array([np.median(columns), np.median(rows)]) + 0.5
        in_camera = np.append((pixel - self.middle) / self.focal, 1.0)
        return np.asarray(self.rotation.T @ (in_camera / np.linalg.norm(in_camera)))

    def pixels(self, points: FloatArray) -> tuple[FloatArray, FloatArray, BoolArray]:
        """Project (N, 3) points: columns and rows as integers, depth, and which lie in the image."""
        in_camera = points @ self.rotation.T + self.translation
        depth = in_camera[:, 2]
        safe = np.where(depth > 1e-9, depth, 1.0)
        at = np.floor(in_camera[:, :2] / safe[:, None] * self.focal + self.middle)
        height, width = self.mask.shape
        inside = (depth > 1e-9) & (at >= 0).all(axis=1) & (at[:, 0] < width) & (at[:, 1] < height)
        return np.where(inside[:, None], at, 0).astype(np.int64), depth, inside


def contradicting(masks: list[SmallMask]) -> dict[str, str]:
    """Return image -> what was seen, of the masks that contradict the others.

    Nothing is said about fewer than five views, or when the views are so alike that anything fits.
    """
    masks = [mask for mask in masks if mask.usable]
    if len(masks) < MIN_VIEWS:
        return {}
    centres, rays = np.array([m.centre for m in masks]), np.array([m.ray() for m in masks])
    target = _meeting_point(centres, rays)
    radius = _radius(masks, target)
    if not np.isfinite(radius) or radius <= 0:
        return {}
    solid, spacing = _carve(masks, target, 1.6 * radius)
    if not len(solid):
        return {mask.image: "no solid fits most of the masks" for mask in masks}
    out = {}
    for mask in masks:
        inside, covered = _overlap(mask, solid, spacing)
        if inside < MIN_INSIDE or covered < MIN_COVERED:
            out[mask.image] = (
                f"it covers {inside:.0%} of what the other masks show; that covers {covered:.0%} of it"
            )
    return out


def _meeting_point(centres: FloatArray, rays: FloatArray) -> FloatArray:
    """Return the point nearest to all rays in least absolute distance, which a minority cannot move far."""
    projectors = np.eye(3) - rays[:, :, None] * rays[:, None, :]
    weights = np.ones(len(rays))
    scale = float(np.linalg.norm(centres - centres.mean(axis=0), axis=1).mean()) or 1.0
    target = centres.mean(axis=0)
    for _ in range(30):
        matrix = (weights[:, None, None] * projectors).sum(axis=0) + 1e-9 * np.eye(3)
        right = (weights[:, None] * np.einsum("nij,nj->ni", projectors, centres)).sum(axis=0)
        target = np.linalg.solve(matrix, right)
        off = np.linalg.norm(np.einsum("nij,nj->ni", projectors, target - centres), axis=1)
        weights = 1.0 / np.maximum(off, 1e-3 * scale)
    return np.asarray(target)


def _radius(masks: list[SmallMask], target: FloatArray) -> float:
    """Return the object's size: the median over the views of half its largest extent."""
    sizes = []
    for mask in masks:
        depth = float((mask.rotation @ target + mask.translation)[2])
        rows, columns = np.nonzero(mask.mask)
        extent = np.array([np.ptp(columns) + 1, np.ptp(rows) + 1]) / mask.focal
        if depth > 0:
            sizes.append(0.5 * depth * float(extent.max()))
    return float(np.median(sizes)) if sizes else float("nan")


def _carve(masks: list[SmallMask], target: FloatArray, reach: float) -> tuple[FloatArray, float]:
    """Return the points of the solid and their spacing; a second, finer cube goes around what was found."""
    solid, spacing = np.empty((0, 3)), 0.0
    for _ in range(2):
        axis = np.linspace(-reach, reach, GRID)
        spacing = float(axis[1] - axis[0])
        cube = target + np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
        votes, seen = np.zeros(len(cube)), np.zeros(len(cube))
        for mask in masks:
            at, _, inside = mask.pixels(cube)
            grown = _dilated(mask, target, spacing)
            seen += inside
            votes += inside & grown[at[:, 1], at[:, 0]]
        solid = cube[(seen >= 0.5 * len(masks)) & (votes >= MIN_VOTES * seen)]
        if not len(solid):
            break
        low, high = solid.min(axis=0) - spacing, solid.max(axis=0) + spacing
        target, reach = (low + high) / 2, float((high - low).max()) / 2
    return solid, spacing


def _dilated(mask: SmallMask, target: FloatArray, spacing: float) -> BoolArray:
    """Grow a mask by about half the diagonal of a grid's cell."""
    depth = max(float((mask.rotation @ target + mask.translation)[2]), 1e-9)
    reach = int(np.clip(np.ceil(0.87 * spacing * float(mask.focal.max()) / depth), 1, 40))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    return np.asarray(cv2.dilate(mask.mask.astype(np.uint8), kernel) > 0)


def _overlap(mask: SmallMask, solid: FloatArray, spacing: float) -> tuple[float, float]:
    """Return the share of the solid that the grown mask covers, and of the mask that the solid does."""
    at, _, inside = mask.pixels(solid)
    if inside.sum() < 0.2 * len(solid):
        return (0.0, 0.0) if mask.mask.mean() > 0.02 and not inside.any() else (1.0, 1.0)
    grown = _dilated(mask, solid.mean(axis=0), spacing)
    share = float(grown[at[inside, 1], at[inside, 0]].mean())
    drawn = np.zeros(mask.mask.shape, np.bool_)
    drawn[at[inside, 1], at[inside, 0]] = True
    drawn = _dilated(
        SmallMask(
            image=mask.image, mask=drawn, rotation=mask.rotation, translation=mask.translation,
            focal=mask.focal, middle=mask.middle,
        ),
        solid.mean(axis=0), spacing,
    )  # fmt: skip
    return share, float(drawn[mask.mask].mean())
