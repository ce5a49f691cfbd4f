"""The report's top view of the cameras, as inline SVG."""

from __future__ import annotations

import html
import math

import numpy as np

from walkaround.types import FloatArray, PointCloud, SparseModel

_HALF = 230.0


def plan_svg(model: SparseModel, cloud: PointCloud | None, *, in_order: bool = True) -> str:
    """Draw camera frusta around the object, their path if in order, the arc covered and the largest gap."""
    centres = np.array([view.centre for view in model.views])
    reach = float(np.linalg.norm(centres[:, :2], axis=1).max()) * 1.14 + 1e-9
    scale = 175.0 / reach

    def at(xy: FloatArray) -> tuple[float, float]:
        return float(xy[0] * scale), float(-xy[1] * scale)

    parts = [_rings(scale, reach), _object_dots(model, cloud, scale, reach), _arc(centres, 196.0)]
    if in_order:
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(at, centres))
        parts.append(f'<polyline class="path" points="{path}"/>')
    last_label = (math.inf, math.inf)
    for view in model.views:
        forward = view.cam_from_world[2, :2]
        width = math.atan2(view.camera.width / 2, float(view.camera.K[0, 0]))
        parts.append(_frustum(at(view.centre), forward, width))
        x, y = at(view.centre * (1 + 0.1 * reach / max(float(np.linalg.norm(view.centre[:2])), 1e-9)))
        if math.dist((x, y), last_label) > 24:
            last_label = (x, y)
            label = html.escape(view.frame.image.rsplit(".", 1)[0].lstrip("0") or "0")
            parts.append(f'<text x="{x:.1f}" y="{y + 4:.1f}" text-anchor="middle">{label}</text>')
    box = f"{-_HALF} {-_HALF} {2 * _HALF} {2 * _HALF}"
    title = f"Top view of {len(model.views)} cameras around the object"
    return f'<svg class="plan" viewBox="{box}" role="img" aria-label="{title}">{"".join(parts)}</svg>'


def largest_gap_deg(centres: FloatArray) -> tuple[float, float]:
    """Return the largest gap between camera azimuths and where it starts (degrees, counter-clockwise)."""
    azimuths = np.sort(np.degrees(np.arctan2(centres[:, 1], centres[:, 0])) % 360)
    gaps = np.diff(np.concatenate([azimuths, azimuths[:1] + 360]))
    widest = int(np.argmax(gaps))
    return float(gaps[widest]), float(azimuths[widest])


def _rings(scale: float, reach: float) -> str:
    unit = scale if reach > 1 else 175.0
    return (
        f'<circle r="{unit:.1f}" fill="none" stroke="var(--line)" stroke-width="1"/>'
        '<path d="M-5 0H5M0-5V5" stroke="var(--soft)" stroke-width="1"/>'
    )


def _object_dots(model: SparseModel, cloud: PointCloud | None, scale: float, reach: float) -> str:
    """Show the object (its sparse surroundings when there is no cloud) as coloured dots."""
    points, colours = model.points_in_world, model.colors
    if cloud is not None and cloud.colors is not None and len(cloud.points_in_world):
        points, colours = np.asarray(cloud.points_in_world, dtype=np.float64), cloud.colors
    near = np.flatnonzero(np.linalg.norm(points[:, :2], axis=1) < reach)
    near = near[:: max(1, len(near) // 700)]
    near = near[np.argsort(points[near, 2], kind="stable")]  # the highest on top
    dots = []
    for index in near:
        x, y = points[index, :2] * scale
        r, g, b = colours[index]
        dots.append(f'<circle cx="{x:.1f}" cy="{-y:.1f}" r="1.7" fill="#{r:02x}{g:02x}{b:02x}"/>')
    return f"<g>{''.join(dots)}</g>"


def _frustum(at: tuple[float, float], forward: FloatArray, half_angle: float) -> str:
    angle = math.atan2(-float(forward[1]), float(forward[0]))
    length = 17.0 / max(math.cos(half_angle), 0.3)
    sides = (angle - half_angle, angle + half_angle)
    corners = [(at[0] + length * math.cos(side), at[1] + length * math.sin(side)) for side in sides]
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in [at, *corners])
    return (
        f'<polygon class="frustum" points="{points}"/>'
        f'<circle cx="{at[0]:.1f}" cy="{at[1]:.1f}" r="2.4" fill="var(--accent)"/>'
    )


def _arc(centres: FloatArray, radius: float) -> str:
    """Draw what was walked as a ring, and the largest gap when it is wide."""
    gap, start = largest_gap_deg(centres)
    if gap < 30:
        return f'<circle r="{radius}" fill="none" stroke="var(--ring)" stroke-width="7"/>'
    arc = 360 - gap
    covered = _ring_piece(radius, start + gap, arc, 'stroke="var(--ring)" stroke-width="7"')
    dashes = 'stroke="var(--warn)" stroke-width="1.5" stroke-dasharray="2 6"'
    missing = _ring_piece(radius, start + 2, gap - 4, dashes)
    middle = math.radians(start + gap / 2)
    x, y = (radius - 30) * math.cos(middle), -(radius - 30) * math.sin(middle)
    label = f'<text class="gap" x="{x:.1f}" y="{y:.1f}" text-anchor="middle">gap {gap:.0f}°</text>'
    return covered + missing + label


def _ring_piece(radius: float, start_deg: float, span_deg: float, style: str) -> str:
    a, b = math.radians(start_deg), math.radians(start_deg + span_deg)
    large = 1 if span_deg > 180 else 0
    x0, y0, x1, y1 = radius * math.cos(a), -radius * math.sin(a), radius * math.cos(b), -radius * math.sin(b)
    return (
        f'<path d="M{x0:.1f} {y0:.1f}A{radius} {radius} 0 {large} 0 {x1:.1f} {y1:.1f}" '
        f'fill="none" stroke-linecap="round" {style}/>'
    )
