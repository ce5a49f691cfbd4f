"""The report's pictures: stills with mask outlines, coloured depth, the cloud from its sides."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numba import njit

from walkaround.io.image import read_stored
from walkaround.types import ByteArray, FloatArray, PointCloud

OUTLINE_BGR = (120, 45, 255)
INVALID_BGR = (150, 150, 150)
BACKGROUND_BGR = (238, 243, 245)


def jpeg_uri(image_bgr: ByteArray, quality: int = 82) -> str:
    """Return an image as a ``data:`` address."""
    flags = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_OPTIMIZE, 1]
    _, data = cv2.imencode(".jpg", image_bgr, flags)
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()


def read_image(path: Path, flags: int = cv2.IMREAD_COLOR) -> ByteArray | None:
    """Read an image; None when it is missing or broken."""
    if not path.is_file():
        return None
    return read_stored(path, flags)


def shrink(image: ByteArray, width: int) -> ByteArray:
    """Shrink to a width; a smaller image stays."""
    if image.shape[1] <= width:
        return image
    height = max(1, round(image.shape[0] * width / image.shape[1]))
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA))


def still(image_path: Path, mask_path: Path, width: int) -> ByteArray | None:
    """Return a still with the outline of its mask."""
    image = read_image(image_path)
    if image is None:
        return None
    small = shrink(image, width).copy()
    mask = read_image(mask_path, cv2.IMREAD_GRAYSCALE)
    if mask is None:
        return small
    mask = cv2.resize(mask, (small.shape[1], small.shape[0]), interpolation=cv2.INTER_AREA)
    contours, _ = cv2.findContours((mask > 127).astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    thickness = max(1, round(small.shape[1] / 110))
    cv2.drawContours(small, contours, -1, OUTLINE_BGR, thickness, cv2.LINE_AA)
    return small


def read_depth(path: Path, scale: float, width: int) -> FloatArray | None:
    """Read a depth map at thumbnail size; NaN where invalid."""
    raw = read_image(path, cv2.IMREAD_UNCHANGED)
    if raw is None or raw.ndim != 2:
        return None
    size = (min(width, raw.shape[1]), max(1, round(raw.shape[0] * min(1, width / raw.shape[1]))))
    small = cv2.resize(raw, size, interpolation=cv2.INTER_NEAREST).astype(np.float64)
    return np.where(small > 0, small * scale, np.nan)


def inverse_depth_range(maps: list[FloatArray]) -> tuple[float, float]:
    """Return the common range (far, near) of inverse depth over all maps, without the extremes."""
    valid = [1 / depth[np.isfinite(depth)] for depth in maps]
    values = np.concatenate(valid) if valid else np.empty(0)
    if not values.size:
        return 0.0, 1.0
    low, high = np.percentile(values, [2, 98])
    return float(low), float(max(high, low * 1.001))


def coloured_depth(depth: FloatArray, limits: tuple[float, float]) -> ByteArray:
    """Colour inverse depth, near red and far blue; invalid pixels grey."""
    with np.errstate(invalid="ignore"):
        level = np.nan_to_num((1 / depth - limits[0]) / (limits[1] - limits[0]))
    out = cv2.applyColorMap((np.clip(level, 0, 1) * 255).astype(np.uint8), cv2.COLORMAP_TURBO)
    out[~np.isfinite(depth)] = INVALID_BGR
    return np.asarray(out)


def depth_legend(limits: tuple[float, float], unit: str) -> str:
    """Return the scale of the depth colours for a page; ``limits`` are inverse depths, far first."""
    far = f"{1 / limits[0]:.2f}" if limits[0] > 0 else "far"
    return (
        f'<div class="legend"><span>{far} {unit}</span><i style="background:{_colour_scale()}"></i>'
        f"<span>{1 / limits[1]:.2f} {unit}</span><u></u><span>no depth</span></div>"
    )


def _colour_scale() -> str:
    """Return the depth colours from far to near as a CSS gradient."""
    steps = np.linspace(0, 255, 12).astype(np.uint8)[None]
    colours = cv2.applyColorMap(steps, cv2.COLORMAP_TURBO)[0]
    return "linear-gradient(90deg," + ",".join(f"rgb({r} {g} {b})" for b, g, r in colours) + ")"


def cloud_sides(
    cloud: PointCloud, azimuths_deg: Sequence[float], *, size: int = 420, elevation_deg: float = 18.0
) -> list[ByteArray]:
    """Draw the cloud from several sides: orthographic, shaded by its normals, nearest point wins.

    Drawn at twice the size with square splats as wide as the points lie apart, then shrunk.
    """
    points = np.asarray(cloud.points_in_world, dtype=np.float64)
    low, high = np.percentile(points, [0.2, 99.8], axis=0)
    points = points - (low + high) / 2
    radius = float(np.percentile(np.linalg.norm(points, axis=1), 99.8)) + 1e-9
    scale = 0.9 * size / radius  # pixels of the double-size image
    reach = _splat_reach(points, scale)
    images = []
    for azimuth_deg in azimuths_deg:
        view = _view_rotation(azimuth_deg, elevation_deg)  # rows: right, down, away
        in_view = points @ view.T
        places = (in_view[:, :2] * scale + size).astype(np.int64)
        nearest = _nearest(places, in_view[:, 2], reach, 2 * size)
        image = np.full((2 * size, 2 * size, 3), BACKGROUND_BGR, np.uint8)
        image[nearest >= 0] = _shaded(cloud, view)[nearest[nearest >= 0]]
        images.append(np.asarray(cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)))
    return images


@njit(cache=True)
def _nearest(places, away, reach, size):  # type: ignore[no-untyped-def]
    """Return (size, size) the index of the nearest point whose splat covers a pixel, or -1."""
    nearest = np.full((size, size), -1, np.int64)
    depth = np.full((size, size), np.inf)
    for n in range(places.shape[0]):
        column, row = places[n, 0], places[n, 1]
        if column < reach or row < reach or column >= size - reach or row >= size - reach:
            continue
        for y in range(row - reach, row + reach + 1):
            for x in range(column - reach, column + reach + 1):
                if away[n] < depth[y, x]:
                    depth[y, x] = away[n]
                    nearest[y, x] = n
    return nearest


def _view_rotation(azimuth_deg: float, elevation_deg: float) -> FloatArray:
    a, e = np.radians([azimuth_deg, elevation_deg])
    away = -np.array([np.cos(a) * np.cos(e), np.sin(a) * np.cos(e), np.sin(e)])
    right = np.cross(away, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(away, right), away])


def _splat_reach(points: FloatArray, scale: float) -> int:
    """Half the width of a splat in pixels: about the median distance between neighbouring points."""
    from scipy.spatial import KDTree

    sample = points[:: max(1, len(points) // 2000)]
    distance, _ = KDTree(points, balanced_tree=False, compact_nodes=False).query(sample, k=2)
    return int(np.clip(np.ceil(np.median(distance[:, -1]) * scale * 0.7), 1, 6)) if len(points) > 1 else 3


def _shaded(cloud: PointCloud, view: FloatArray) -> ByteArray:
    """Return BGR colours (N, 3) lit softly from above the viewer's left shoulder."""
    count = len(cloud.points_in_world)
    colours = np.full((count, 3), 170.0) if cloud.colors is None else cloud.colors[:, ::-1].astype(np.float64)
    if cloud.normals is None:
        return colours.astype(np.uint8)
    light = np.array([-0.45, -0.65, -0.75])
    facing = (cloud.normals @ view.T) @ (light / np.linalg.norm(light))
    strength = 0.66 + 0.42 * np.clip(facing, -0.4, 1)
    return np.asarray(np.clip(colours * strength[:, None], 0, 255).astype(np.uint8))
