"""Find the object in 3-D: a voxel grid carved by every view's depth, cut at the support plane.

For a voxel, each view says one of: *free* (the view sees a surface behind it), *surface*, *behind* (it is
hidden by a nearer surface), *hole* (no depth, but inside a region with depth) or *void* (no depth in a large
area: a plain or dark background). What is never free and seldom void is solid; of the solid parts above
the support plane, the one at the centre of the walk-around is the object.

Source of the carving rule: Kutulakos and Seitz 2000 (10.1023/A:1008191222954), with depth in place of colour.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numba import njit, prange
from scipy import ndimage

from walkaround.geometry import normalised_rays
from walkaround.geometry.pinhole import MIN_DEPTH, pack_intrinsics, project_point
from walkaround.geometry.plane import fit_plane
from walkaround.types import BoolArray, Float32Array, FloatArray, IntArray, View

MAX_BELOW = 0.05
"""Share of the points around the object that may lie below its support (wrong depth does)."""


@dataclass(kw_only=True)
class MaskView:
    """A registered view at the size masks are solved at."""

    view: View
    image_srgb: np.ndarray  # (h, w, 3) BGR as OpenCV reads it
    depth: Float32Array  # (h, w), 0 = invalid
    void: BoolArray  # (h, w) invalid depth in a large area

    @property
    def size_hw(self) -> tuple[int, int]:
        return self.depth.shape[0], self.depth.shape[1]

    @property
    def K(self) -> FloatArray:
        return self.view.camera.scaled(self.depth.shape[1], self.depth.shape[0]).K

    def world_points(self, step: int = 1) -> tuple[FloatArray, IntArray, IntArray]:
        """Return (N, 3) points of the valid pixels in the world, and their rows and columns."""
        camera = self.view.camera.scaled(self.depth.shape[1], self.depth.shape[0])
        rows, columns = np.nonzero(self.depth[::step, ::step] > 0)
        rows, columns = rows * step, columns * step
        rays = normalised_rays(camera)[rows, columns]
        z = self.depth[rows, columns].astype(np.float64)
        points = np.concatenate([rays * z[:, None], z[:, None]], axis=1)
        pose = self.view.cam_from_world
        return (points - pose[:3, 3]) @ pose[:3, :3], rows, columns


@dataclass(frozen=True, kw_only=True)
class Solid:
    """The object as voxels."""

    occupied: BoolArray  # (nx, ny, nz)
    origin: FloatArray  # (3,) centre of voxel (0, 0, 0)
    voxel: float
    plane: FloatArray | None  # support plane (a, b, c, d), normal up

    @cached_property
    def surface(self) -> FloatArray:
        """Centres of the voxels at the surface, (N, 3)."""
        inner = ndimage.binary_erosion(self.occupied)
        return np.argwhere(self.occupied & ~inner) * self.voxel + self.origin

    @property
    def box(self) -> tuple[FloatArray, FloatArray]:
        """Low and high corner (3,) of the voxels with three more on each side."""
        index = np.argwhere(self.occupied)
        return (
            self.origin + (index.min(axis=0) - 3) * self.voxel,
            self.origin + (index.max(axis=0) + 3) * self.voxel,
        )

    @cached_property
    def grown(self) -> BoolArray:
        """(nx, ny, nz): the voxels and all that touch them."""
        return np.asarray(ndimage.binary_dilation(self.occupied, np.ones((3, 3, 3), bool)))


def find_void(valid: BoolArray) -> BoolArray:
    """Return the invalid pixels that belong to a large or border-touching area without depth."""
    height, width = valid.shape
    closed = cv2.morphologyEx(valid.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    _, labels, stats, _ = cv2.connectedComponentsWithStats((closed == 0).astype(np.uint8), connectivity=4)
    left, top = stats[:, cv2.CC_STAT_LEFT], stats[:, cv2.CC_STAT_TOP]
    right, bottom = left + stats[:, cv2.CC_STAT_WIDTH], top + stats[:, cv2.CC_STAT_HEIGHT]
    area = stats[:, cv2.CC_STAT_AREA]
    border = (left <= 1) | (top <= 1) | (right >= width - 1) | (bottom >= height - 1)
    large = (border & (area > 0.002 * valid.size)) | (area > 0.08 * valid.size)
    large[0] = False
    return np.asarray(large[labels])


def support_plane(views: list[MaskView], radius: float, *, disc: bool = False) -> FloatArray | None:
    """Return the plane the object stands on, or None.

    Of the horizontal planes in the height histogram along the dominant one's normal, the highest that
    reaches the border of at least half the images (a table does, a box's lid does not); when none does,
    the lowest, if it spreads wider than what stands on it (a turntable's disc does, the flat underside or
    cap of an object before nothing does not). What lies under a support cannot be seen: a plane with more
    than a few points below it is a side of the object.

    Parameters
    ----------
    disc
        Only a disc that shows more of itself than of what stands on it will do (before a plain background
        there is no table, and the leaves of a rosette are no disc).
    """
    cloud, at_border, owner = [], [], []
    for index, view in enumerate(views):
        points, rows, columns = view.world_points(step=6)
        near = np.linalg.norm(points, axis=1) < 2.0 * radius
        h, w = view.size_hw
        edge = (rows < 0.06 * h) | (rows > 0.94 * h) | (columns < 0.06 * w) | (columns > 0.94 * w)
        cloud.append(points[near])
        at_border.append(edge[near])
        owner.append(np.full(int(near.sum()), index))
    points, border, owners = np.concatenate(cloud), np.concatenate(at_border), np.concatenate(owner)
    tolerance = 0.012 * radius / 0.5
    found = fit_plane(points, tolerance=tolerance)
    if found is None or found[1] < 0.06:
        return None
    plane = found[0]
    height = points @ plane[:3] + plane[3]
    step = tolerance / 2
    histogram, edges = np.histogram(height, bins=np.arange(-2 * radius, 2 * radius + step, step))
    smooth = np.convolve(histogram, np.ones(4), mode="same")
    peaks = [
        k for k in range(3, len(smooth) - 3)
        if smooth[k] == smooth[k - 3 : k + 4].max() and smooth[k] > 0.25 * smooth.max()
    ]  # fmt: skip
    candidates = []
    for k in peaks:
        level = float(edges[k])
        on = np.abs(height - level) < tolerance
        touching = np.unique(owners[on & border])
        candidates.append((level, len(touching) / len(views)))
    reaching = [level for level, share in candidates if share >= 0.5]
    level = max(reaching) if reaching else min((level for level, _ in candidates), default=0.0)
    if not reaching and not _spreads_beyond(points, plane, height - level, tolerance, disc):
        return None
    inner = np.linalg.norm(points, axis=1) < radius
    if float((height[inner] - level < -2 * tolerance).mean()) > MAX_BELOW:
        return None
    on = np.abs(height - level) < 1.5 * tolerance
    refined = fit_plane(points[on], tolerance=tolerance / 2)
    return refined[0] if refined is not None else plane - np.array([0, 0, 0, level])


def _spreads_beyond(
    points: FloatArray, plane: FloatArray, height: FloatArray, tolerance: float, disc: bool
) -> bool:
    flat = points - np.outer(points @ plane[:3], plane[:3])
    on, above = np.abs(height) < tolerance, height > 2 * tolerance
    if on.sum() < 20 or above.sum() < 20:
        return bool(on.sum() >= 20)
    if disc and on.sum() < above.sum():
        return False
    centre = np.median(flat[above], axis=0)
    radius = np.linalg.norm(flat - centre, axis=1)
    return bool(np.percentile(radius[on], 80) > 1.15 * np.percentile(radius[above], 80))


@njit(parallel=True, cache=True)
def _vote(  # type: ignore[no-untyped-def]
    occupied, origin, voxel, depths, voids, sizes, rotations, translations, intrinsics, tolerance, max_free
):
    """Return (nx, ny, nz, 5) uint8: views where the voxel is free, not free, void, in the image, surface.

    A voxel that more than ``max_free`` views see past is asked no further.
    """
    nx, ny, nz = occupied.shape
    votes = np.zeros((nx, ny, nz, 5), np.uint8)
    for i in prange(nx):
        for j in range(ny):
            px, py = origin[0] + i * voxel, origin[1] + j * voxel
            for s in range(rotations.shape[0]):
                # along a column of voxels the camera coordinates grow by one constant step
                R = rotations[s]
                dx, dy, dz = R[0, 2] * voxel, R[1, 2] * voxel, R[2, 2] * voxel
                x0 = R[0, 0] * px + R[0, 1] * py + R[0, 2] * origin[2] + translations[s, 0]
                y0 = R[1, 0] * px + R[1, 1] * py + R[1, 2] * origin[2] + translations[s, 1]
                z0 = R[2, 0] * px + R[2, 1] * py + R[2, 2] * origin[2] + translations[s, 2]
                fx, fy, cx, cy = intrinsics[s, 0], intrinsics[s, 1], intrinsics[s, 2], intrinsics[s, 3]
                k1, k2 = intrinsics[s, 4], intrinsics[s, 5]
                width, height = sizes[s, 1], sizes[s, 0]
                for k in range(nz):
                    z = z0 + k * dz
                    if z <= MIN_DEPTH or not occupied[i, j, k] or votes[i, j, k, 0] > max_free:
                        continue
                    x, y = (x0 + k * dx) / z, (y0 + k * dy) / z
                    r2 = x * x + y * y
                    radial = 1.0 + r2 * (k1 + r2 * k2)
                    x, y = fx * x * radial + cx, fy * y * radial + cy
                    if x < 0.0 or y < 0.0 or x >= width or y >= height:
                        continue
                    u, v = int(x), int(y)
                    votes[i, j, k, 3] += 1
                    d = depths[s, v, u]
                    if d > 0:
                        if z < d - tolerance:
                            votes[i, j, k, 0] += 1
                        else:
                            votes[i, j, k, 1] += 1
                            if z < d + tolerance:
                                votes[i, j, k, 4] += 1
                    elif voids[s, v, u]:
                        votes[i, j, k, 2] += 1
    return votes


@njit(parallel=True, cache=True)
def _count_inside(points, masks, sizes, rotations, translations, intrinsics):  # type: ignore[no-untyped-def]
    counts = np.zeros((points.shape[0], 2), np.int32)
    for n in prange(points.shape[0]):
        p = points[n]
        for s in range(rotations.shape[0]):
            x, y, z = project_point(p[0], p[1], p[2], rotations[s], translations[s], intrinsics[s])
            if z <= MIN_DEPTH:
                continue
            u, v = int(np.floor(x)), int(np.floor(y))
            if u < 0 or v < 0 or u >= sizes[s, 1] or v >= sizes[s, 0]:
                continue
            counts[n, 1] += 1
            if masks[s, v, u]:
                counts[n, 0] += 1
    return counts


def count_inside(
    views: list[MaskView], points: FloatArray, masks: list[BoolArray]
) -> tuple[IntArray, IntArray]:
    """Return, for (N, 3) points, how many masks hold them and how many images show their place."""
    cameras = camera_arrays(views)
    counts = _count_inside(points, _stacked(masks, np.bool_), **cameras)
    return counts[:, 0], counts[:, 1]


def camera_arrays(views: list[MaskView]) -> dict[str, Any]:
    """Stack what the kernels need of cameras: sizes, poses, intrinsics (fx, fy, cx, cy, k1, k2)."""
    sizes = np.array([view.size_hw for view in views], dtype=np.int64)
    poses = np.stack([view.view.cam_from_world for view in views])
    rows = [pack_intrinsics(view.K, view.view.camera.distortion) for view in views]
    return {
        "sizes": sizes,
        "rotations": np.ascontiguousarray(poses[:, :3, :3]),
        "translations": np.ascontiguousarray(poses[:, :3, 3]),
        "intrinsics": np.array(rows),
    }


def _stacked(pictures: Sequence[Any], kind: Any) -> Any:
    """Put (h, w) pictures of several sizes into one array (V, H, W), 0 beyond each."""
    height, width = np.array([picture.shape for picture in pictures]).max(axis=0)
    out = np.zeros((len(pictures), height, width), kind)
    for target, picture in zip(out, pictures, strict=True):
        target[: picture.shape[0], : picture.shape[1]] = picture
    return out


def carve(
    views: list[MaskView],
    arrays: dict[str, Any],
    low: FloatArray,
    high: FloatArray,
    count: int,
    plane: FloatArray | None,
    *,
    thin: bool = False,
) -> Solid | None:
    """Carve the box ``low``..``high`` into ``count`` voxels along its longest side; keep the central part.

    ``thin``: for stems and wires, narrower than a voxel, so that many views see past them: keep what a
    third of the views measure a surface on, whatever the others see through it.
    """
    voxel = float((high - low).max()) / (count - 1)
    shape = tuple(int(n) for n in np.ceil((high - low) / voxel).astype(int) + 1)
    start = np.ones(shape, dtype=np.bool_)
    grid = np.stack(np.meshgrid(*(low[a] + voxel * np.arange(shape[a]) for a in range(3)), indexing="ij"), -1)
    if plane is not None:
        start &= grid @ plane[:3] + plane[3] > max(0.006, 0.75 * voxel)
    max_free = 255.0 if thin else _max_free(float(len(views)))
    votes = _vote(start, low, voxel, **arrays, tolerance=max(1.2 * voxel, 0.006), max_free=max_free)
    free, solid, void, seen, surface = (votes[..., k].astype(np.float32) for k in range(5))
    start &= seen >= 0.5 * len(views)
    if thin:
        occupied = start & (surface >= 0.33 * seen) & (surface > free)
    else:
        occupied = start & (free <= _max_free(seen)) & (void <= 0.35 * seen) & (solid >= 2)
        occupied = ndimage.binary_opening(occupied) | (occupied & (solid >= 0.6 * seen))
    kept = central_component(occupied, grid, 0.5 * float((high - low).max()), reach=2 if thin else 1)
    if kept is None:
        return None
    return Solid(occupied=kept, origin=low, voxel=voxel, plane=plane)


def _max_free(seen: Any) -> Any:
    """Return how many of the views that see its place may see past a voxel of the object."""
    return 1 + 0.06 * seen


def central_component(
    occupied: BoolArray, grid: FloatArray, radius: float, reach: int = 1
) -> BoolArray | None:
    """Return the connected part with the most volume, weighted towards the origin; None when empty.

    Parts up to twice ``reach`` voxels apart count as connected.
    """
    near = ndimage.binary_dilation(occupied, iterations=reach)
    labels, count = ndimage.label(near)
    if count == 0:
        return None
    labels[~occupied] = 0
    weight = np.exp(-((grid**2).sum(axis=-1)) / (2 * (0.35 * radius) ** 2))
    weights = ndimage.sum_labels(weight, labels, index=np.arange(1, count + 1))
    best = int(np.argmax(weights)) + 1
    kept = labels == best
    return np.asarray(kept) if kept.sum() >= 20 else None


def find_object(views: list[MaskView], count: int, radius: float, *, thin: bool = False) -> Solid | None:
    """Find the object: a coarse grid over the shared space, then a fine one around what was found."""
    arrays = {
        "depths": _stacked([view.depth for view in views], np.float32),
        "voids": _stacked([view.void for view in views], np.bool_),
        **camera_arrays(views),
    }
    plane = support_plane(views, radius)
    solid = None
    low, high = np.full(3, -radius), np.full(3, radius)
    for fineness in (max(48, round(0.6 * count)), count):
        found = carve(views, arrays, low, high, fineness, plane, thin=thin)
        if found is None:
            return solid
        solid = found
        low, high = found.box
    return solid
