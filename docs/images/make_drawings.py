"""Draw the conventions: ``python docs/images/make_drawings.py`` writes the SVG files beside it.

Colours are CSS variables: as files the drawings follow the reader's system, in the site the page's own switch
(docs/_ext/drawings.py puts them into the page, docs/_static/site.css sets the variables).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from walkaround.geometry import project
from walkaround.types import Camera, FloatArray

HERE = Path(__file__).parent
STYLE = """<style>
.drawing { --ink: #1f2328; --soft: #6b7280; --paper: #ffffff; font: 15px system-ui, sans-serif; }
@media (prefers-color-scheme: dark) { .drawing { --ink: #e6e6e6; --soft: #9aa4b2; --paper: #131416; } }
.drawing .ink { stroke: var(--ink); fill: none; stroke-width: 1.6; }
.drawing .soft { stroke: var(--soft); fill: none; stroke-width: 1.2; }
.drawing .dash { stroke-dasharray: 5 5; }
.drawing text { fill: var(--ink); }
.drawing .small { font-size: 13px; fill: var(--soft); }
.drawing .code { font-family: ui-monospace, monospace; font-size: 14px; }
.drawing .x { stroke: #e5484d; fill: #e5484d; } .drawing .y { stroke: #30a46c; fill: #30a46c; }
.drawing .z { stroke: #3e8ef7; fill: #3e8ef7; } .drawing .mark { stroke: #e8762c; fill: #e8762c; }
.drawing line.x, .drawing line.y, .drawing line.z, .drawing line.mark { stroke-width: 2.6; }
.drawing text.x, .drawing text.y, .drawing text.z, .drawing text.mark { stroke: none; font-weight: 600; }
.drawing .tint { fill: #3e8ef7; fill-opacity: 0.12; stroke: none; }
.drawing .spot { fill: #3e8ef7; fill-opacity: 0.4; }
.drawing .object { fill: #e8762c; fill-opacity: 0.35; stroke: #e8762c; stroke-width: 1.4; }
</style>"""


def svg(name: str, title: str, box_xywh: tuple[int, int, int, int], parts: list[str]) -> None:
    """Write the part of a drawing that lies in a box."""
    width, height = box_xywh[2:]
    head = (
        f'<svg class="drawing" xmlns="http://www.w3.org/2000/svg" viewBox="{" ".join(map(str, box_xywh))}" '
    )
    head += f'width="{width}" height="{height}">\n<title>{title}</title>\n'
    (HERE / name).write_text(head + STYLE + "\n" + "\n".join(parts) + "\n</svg>\n", encoding="utf-8")


def line(a: FloatArray, b: FloatArray, kind: str = "ink") -> str:
    """Return a straight line."""
    return f'<line class="{kind}" x1="{a[0]:.1f}" y1="{a[1]:.1f}" x2="{b[0]:.1f}" y2="{b[1]:.1f}"/>'


def arrow(a: FloatArray, b: FloatArray, kind: str) -> str:
    """Return a line with a head at its end."""
    a, b = np.asarray(a, float), np.asarray(b, float)
    along = (b - a) / np.linalg.norm(b - a)
    across = np.array([-along[1], along[0]])
    corners = [b, b - 11 * along + 4.5 * across, b - 11 * along - 4.5 * across]
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)
    return line(a, b - 8 * along, kind) + f'<polygon class="{kind}" points="{points}"/>'


def text(place: FloatArray, said: str, kind: str = "", anchor: str = "start") -> str:
    """Return words."""
    return f'<text class="{kind}" x="{place[0]:.1f}" y="{place[1]:.1f}" text-anchor="{anchor}">{said}</text>'


def moved(place: FloatArray, right: float, down: float) -> FloatArray:
    """Return a place so many pixels further."""
    return np.array([place[0] + right, place[1] + down])


def outline(points: FloatArray, kind: str = "ink") -> str:
    """Return a closed outline."""
    return f'<polygon class="{kind}" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in points)}"/>'


def dot(place: FloatArray, kind: str = "mark", radius: float = 4) -> str:
    """Return a dot."""
    return f'<circle class="{kind}" cx="{place[0]:.1f}" cy="{place[1]:.1f}" r="{radius}"/>'


def looking_at(eye: FloatArray, target: FloatArray, up: FloatArray) -> FloatArray:  # (4, 4)
    """Return ``cam_from_world`` of a camera at ``eye``: x right, y down, z towards ``target``."""
    forward = (target - eye) / np.linalg.norm(target - eye)
    right = np.cross(forward, up)
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(forward, right), forward])
    pose[:3, 3] = -pose[:3, :3] @ eye
    return pose


class Stage:
    """A perspective in which points of a drawing's world are placed."""

    def __init__(self, eye: FloatArray, target: FloatArray, focal: float, size_wh: tuple[int, int]) -> None:
        self.pose = looking_at(np.asarray(eye, float), np.asarray(target, float), np.array([0.0, 0, 1]))
        centre = (size_wh[0] / 2, size_wh[1] / 2)
        self.camera = Camera(
            model="SIMPLE_PINHOLE", width=size_wh[0], height=size_wh[1], params=(focal, *centre)
        )

    def at(self, *points: FloatArray) -> FloatArray:  # (N, 2)
        """Return where points lie in the drawing."""
        world = np.asarray(points, float)
        return project(self.camera, world @ self.pose[:3, :3].T + self.pose[:3, 3])


def frustum(stage: Stage, cam_from_world: FloatArray, depth: float, tint: bool = True) -> list[str]:
    """Draw a camera: its centre and the edges of its image, ``depth`` away."""
    half = np.array([[-0.5, -0.34], [0.5, -0.34], [0.5, 0.34], [-0.5, 0.34]]) * depth
    in_cam = np.column_stack([half, np.full(4, depth)])
    corners = stage.at(*((in_cam - cam_from_world[:3, 3]) @ cam_from_world[:3, :3]))
    apex = stage.at(-cam_from_world[:3, :3].T @ cam_from_world[:3, 3])[0]
    sides = [line(apex, corner) for corner in corners]
    return [outline(corners, "tint") if tint else "", *sides, outline(corners)]


def draw_axes() -> None:
    """Draw camera axes, the image, a point, and what its depth is."""
    size = (720, 340)
    stage = Stage([2.6, -0.9, 1.2], [0.0, 1.0, -0.08], 640, size)
    # the drawing's world: x right, y forward, z up; the camera stands at its origin and looks along y
    pose = looking_at(np.zeros(3), np.array([0.0, 1, 0]), np.array([0.0, 0, 1]))
    centre, right, down, forward = stage.at([0, 0, 0], [0.5, 0, 0], [0, 0, -0.5], [0, 2.3, 0])
    point, foot = stage.at([0.35, 1.75, 0.5], [0, 1.75, 0])
    parts = frustum(stage, pose, 0.8)
    parts += [arrow(centre, right, "x"), arrow(centre, down, "y"), arrow(centre, forward, "z")]
    parts += [text(moved(right, 8, 10), "x right", "x"), text(moved(down, 10, 8), "y down", "y")]
    parts += [text(moved(forward, 8, 4), "z forward", "z"), line(centre, point, "soft dash")]
    parts += [line(point, foot, "soft dash"), dot(point), text(moved(point, 12, 2), "a point", "mark")]
    parts += [dot(foot, "z"), text(moved(foot, 0, 28), "its depth: z", "z", "middle")]
    parts += [text(moved(centre, -8, -14), "camera centre", "", "end")]
    svg("camera_axes.svg", "Camera axes: x right, y down, z forward; depth is z", (40, 40, 600, 290), parts)


def draw_pixels() -> None:
    """Draw the corner of an image with the coordinates of its pixels."""
    cell, left, top = 96, 120, 60
    corner = np.array([left, top], float)
    parts = [f'<rect class="tint" x="{left}" y="{top}" width="{cell}" height="{cell}"/>']
    for column in range(4):
        for row in range(3):
            x, y = left + column * cell, top + row * cell
            parts.append(f'<rect class="soft" x="{x}" y="{y}" width="{cell}" height="{cell}"/>')
    x_end, y_end = moved(corner, 4.5 * cell, 0), moved(corner, 0, 3.35 * cell)
    parts += [arrow(corner, x_end, "x"), arrow(corner, y_end, "y")]
    parts += [text(moved(x_end, 8, 5), "x", "x"), text(moved(y_end, -18, 0), "y", "y")]
    parts += [dot(corner, "ink", 4), text(moved(corner, -12, -14), "(0, 0)", "code", "end")]
    for column, row in ((0, 0), (1, 0), (0, 1), (3, 2)):
        place = moved(corner, (column + 0.5) * cell, (row + 0.5) * cell)
        label = f"({column + 0.5}, {row + 0.5})"
        parts += [dot(place), text(moved(place, 0, 26), label, "code", "middle")]
    parts += [text(moved(corner, cell / 2, 24), "first pixel", "small", "middle")]
    parts += [text(moved(corner, n * cell, -14), str(n), "small", "middle") for n in range(1, 5)]
    parts += [text(moved(corner, -12, n * cell + 5), str(n), "small", "end") for n in range(1, 4)]
    svg("pixels.svg", "The centre of the top-left pixel is (0.5, 0.5)", (30, 20, 560, 380), parts)


def draw_world() -> None:
    """Draw the world of a sequence: the object at the origin, z up, cameras about 1 away."""
    size = (720, 400)
    stage = Stage([1.2, -3.2, 2.1], [0, 0, 0.24], 980, size)
    turn = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    orbit = stage.at(*np.column_stack([0.92 * np.cos(turn), 0.92 * np.sin(turn), np.full(72, 0.4)]))
    parts = [outline(orbit, "soft dash")]
    box = np.array([[x, y, z] for z in (-0.16, 0.16) for x, y in ((-1, -1), (1, -1), (1, 1), (-1, 1))])
    corners = stage.at(*(box * [0.13, 0.13, 1]))
    for face in ((0, 1, 5, 4), (1, 2, 6, 5), (4, 5, 6, 7)):
        parts.append(outline(corners[list(face)], "object"))
    origin, x, y, z = stage.at([0, 0, 0], [0.5, 0, 0], [0, 0.62, 0], [0, 0, 0.5])
    parts += [arrow(origin, x, "x"), arrow(origin, y, "y"), arrow(origin, z, "z")]
    parts += [text(moved(x, 8, 8), "x", "x"), text(moved(y, 6, 0), "y", "y")]
    parts += [text(moved(z, 10, 4), "z up", "z")]
    eyes = [
        np.array([0.92 * np.cos(a), 0.92 * np.sin(a), 0.4])
        for a in np.radians([5, 45, 80, 130, 165, 205, 255])
    ]
    for eye in eyes:
        parts += frustum(stage, looking_at(eye, np.zeros(3), np.array([0.0, 0, 1])), 0.2)
    centre = stage.at(eyes[5])[0]
    parts += [line(origin, centre, "mark dash"), dot(centre)]
    parts += [text(moved((origin + centre) / 2, -2, 22), "distance 1", "mark", "middle")]
    parts += [text(moved(stage.at(eyes[0])[0], 0, 62), "cam_from_world", "code", "middle")]
    svg(
        "world.svg", "The world: z up, origin in the object, cameras at distance 1", (90, 44, 600, 276), parts
    )


def draw_filming() -> None:
    """Draw the walk around an object, and how it should lie in the picture."""
    size = (720, 400)
    stage = Stage([0.0, -3.3, 2.6], [0, 0, 0.1], 760, size)
    turn = np.linspace(np.radians(-100), np.radians(205), 60)
    path = stage.at(*np.column_stack([np.cos(turn), np.sin(turn), np.full(60, 0.4)])) - [140, 0]
    places = " ".join(f"{x:.1f},{y:.1f}" for x, y in path[:-1])
    parts = [f'<polyline class="mark" style="fill:none;stroke-width:2.6" points="{places}"/>']
    parts.append(arrow(path[-2], path[-1], "mark"))
    cloth = np.array([[x, y, 0] for x, y in ((-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5))])
    parts.append(outline(stage.at(*cloth) - [140, 0], "soft"))
    rng = np.random.default_rng(0)
    for x, y in rng.uniform(-0.45, 0.45, (26, 2)):
        spot = np.array([[x, y, 0], [x + 0.05, y, 0], [x + 0.05, y + 0.05, 0], [x, y + 0.05, 0]])
        parts.append(outline(stage.at(*spot) - [140, 0], "spot"))
    box = np.array([[x, y, z] for z in (0, 0.42) for x, y in ((-1, -1), (1, -1), (1, 1), (-1, 1))])
    corners = stage.at(*(box * [0.14, 0.14, 1])) - [140, 0]
    for face in ((0, 1, 5, 4), (4, 5, 6, 7)):
        parts.append(outline(corners[list(face)], "object"))
    parts.append(text((220, 372), "a half circle or more, about ten seconds", "", "middle"))
    pictures = (("too small", 0.3, 0.5), ("good", 0.72, 0.5), ("cut", 0.9, 0.72))
    for row, (label, share, middle) in enumerate(pictures):
        x, y, width, height = 520.0, 30.0 + row * 118, 160.0, 90.0
        kind = "y" if label == "good" else "x"
        tall, wide = share * height, share * height * 0.72
        left, top = x + width * 0.5 - wide / 2, y + middle * height - tall / 2
        bottom = min(top + tall, y + height)
        parts.append(f'<rect class="ink" x="{x}" y="{y}" width="{width}" height="{height}"/>')
        parts.append(
            outline(
                np.array([[left, top], [left + wide, top], [left + wide, bottom], [left, bottom]]), "object"
            )
        )
        parts.append(text((x - 12, y + height / 2 + 5), label, kind, "end"))
    svg(
        "filming.svg",
        "Walk around the object; let it fill the picture without being cut",
        (20, 14, 680, 376),
        parts,
    )


if __name__ == "__main__":
    draw_filming()
    draw_axes()
    draw_pixels()
    draw_world()
