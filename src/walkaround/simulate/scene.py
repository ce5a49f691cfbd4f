"""The scene: object, table, room, lights; and the light that reaches each point, by embree shadow rays."""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from embreex import rtcore_scene
from embreex.mesh_construction import TriangleMesh as EmbreeMesh

from walkaround.simulate.objects import make_object
from walkaround.simulate.options import SimulateOptions
from walkaround.simulate.surface import TriangleMesh
from walkaround.types import BoolArray, FloatArray, IntArray

_OTHERS = ("blob", "mug", "vase")
_KINDS = {"plain": 0, "wood": 1, "stone": 2}


class Tracer:
    """First hits and shadows on one mesh. Embree computes in float32: scenes are under a metre."""

    def __init__(self, mesh: TriangleMesh) -> None:
        self._scene = rtcore_scene.EmbreeScene(robust=True)
        EmbreeMesh(self._scene, np.ascontiguousarray(mesh.vertices[mesh.faces], dtype=np.float32))

    def first_faces(self, origin: FloatArray, directions: FloatArray) -> IntArray:
        """(N,) the face that each ray from one point hits first; -1 for none."""
        d = np.ascontiguousarray(directions, dtype=np.float32)
        o = np.ascontiguousarray(np.broadcast_to(origin, d.shape), dtype=np.float32)
        return np.asarray(self._scene.run(o, d, None, "INTERSECT"), dtype=np.int64)

    def blocked(self, origins: FloatArray, directions: FloatArray) -> BoolArray:
        """True where the mesh stands in a ray's way."""
        o = np.ascontiguousarray(origins, dtype=np.float32)
        d = np.ascontiguousarray(np.broadcast_to(directions, o.shape), dtype=np.float32)
        return np.asarray(self._scene.run(o, d, None, "OCCLUDED") != -1)


@dataclass(frozen=True, kw_only=True)
class Light:
    """A distant lamp of some width."""

    direction: FloatArray  # (3,) unit, towards the lamp, in the room
    color: FloatArray  # (3,)
    spread: float  # radius over distance


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Everything that does not move, and how to look it up."""

    options: SimulateOptions
    mesh: TriangleMesh
    """The object, then its neighbours."""
    object_mesh: TriangleMesh
    owners: IntArray  # (F,) whose face it is: 0 the object's, 1 and on its neighbours'
    tracer: Tracer
    lights: tuple[Light, ...]
    ambient: tuple[FloatArray, FloatArray]  # light from the sky by vertex (V, 3), by table cell (n, n, 3)
    table_radius_m: float
    table_kind: int
    table_colors: FloatArray
    prints: FloatArray  # (M, 11)
    colors: FloatArray  # (1 + neighbours, 3, 3)
    room: FloatArray  # (2, 3) low and high corner
    noise_seed: int


def make_scene(
    options: SimulateOptions,
    alone: TriangleMesh | None = None,
    make_other: Callable[[str, int], TriangleMesh] = make_object,
) -> Scene:
    """Draw everything random of the scene from the seed.

    Parameters
    ----------
    alone
        The object, standing on z = 0 over the origin; None makes the one that the options name.
    make_other
        Makes what stands around it, of a name and a seed.
    """
    rng = np.random.default_rng([options.seed, 37])
    if alone is None:
        alone = make_object(options.object, options.seed, options.symmetry)
    centre = np.array([0.0, 0.0, 0.5 * alone.vertices[:, 2].max()])
    radius = options.table_radius * float(np.linalg.norm(alone.vertices - centre, axis=1).max())
    mesh, owners = _among_others(alone, options, make_other)
    side = min(256, max(64, max(options.size) // 3))
    tracer = Tracer(mesh)
    others = np.random.default_rng([options.seed, 67])
    colors = [_colors(rng)]
    wood = np.array([[0.42, 0.25, 0.13], [0.24, 0.13, 0.065]]) * rng.uniform(0.8, 1.25)
    stone = np.array([[0.5, 0.48, 0.45], [0.26, 0.25, 0.26]]) * rng.uniform(0.8, 1.25)
    table_colors = {"wood": wood, "stone": stone, "plain": np.full((2, 3), 0.45)}[options.table]
    lights = (
        _lamp(rng.uniform(0, 2 * np.pi), rng.uniform(0.75, 1.0), np.array([1.0, 0.95, 0.86]) * 0.85, 0.12),
        _lamp(rng.uniform(0, 2 * np.pi), rng.uniform(0.5, 0.8), np.array([0.8, 0.9, 1.0]) * 0.42, 0.25),
        _lamp(rng.uniform(0, 2 * np.pi), rng.uniform(1.1, 1.4), np.array([1.0, 1.0, 0.95]) * 0.3, 0.2),
    )
    return Scene(
        options=options,
        mesh=mesh,
        object_mesh=alone,
        owners=owners,
        tracer=tracer,
        lights=lights,
        ambient=_ambient(tracer, mesh, radius, side, table_colors.mean(axis=0)),
        table_radius_m=radius,
        table_kind=_KINDS[options.table],
        table_colors=table_colors,
        prints=_prints(rng, radius),
        colors=np.array(colors + [_colors(others) for _ in range(options.clutter)]),
        room=np.array([[-2.2, -2.6, -0.75], [2.5, 2.0, 1.8]]) * rng.uniform(0.9, 1.1, (2, 3)),
        noise_seed=int(rng.integers(1, 1 << 20)),
    )


def _colors(rng: np.random.Generator) -> FloatArray:  # (3, 3)
    hue = rng.uniform()
    hsv = [(hue, 0.55, 0.62), (hue + rng.uniform(0.25, 0.45), 0.5, 0.3), (hue + 0.55, 0.35, 0.8)]
    return np.asarray(np.array([colorsys.hsv_to_rgb(h % 1.0, s, v) for h, s, v in hsv]) ** 1.6)


def _among_others(
    alone: TriangleMesh, options: SimulateOptions, make_other: Callable[[str, int], TriangleMesh]
) -> tuple[TriangleMesh, IntArray]:
    """Put other things in a ring around the object, where none touches it; return all with their owners."""
    rng = np.random.default_rng([options.seed, 61])
    meshes = [alone]
    reach = float(np.hypot(alone.vertices[:, 0], alone.vertices[:, 1]).max())
    start = rng.uniform(0, 2 * np.pi)
    for number in range(options.clutter):
        name = _OTHERS[int(rng.integers(len(_OTHERS)))]
        other = make_other(name, int(rng.integers(1 << 20)))
        size = float(np.hypot(other.vertices[:, 0], other.vertices[:, 1]).max())
        scale = rng.uniform(0.35, 0.7) * alone.vertices[:, 2].max() / other.vertices[:, 2].max()
        angle = start + 2 * np.pi * (number + rng.uniform(-0.25, 0.25)) / options.clutter
        distance = reach + scale * size + rng.uniform(0.1, 0.7) * reach
        place = np.array([distance * np.cos(angle), distance * np.sin(angle), 0.0])
        meshes.append(
            TriangleMesh(vertices=scale * other.vertices + place, faces=other.faces, normals=other.normals)
        )
    first = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes)])
    whole = TriangleMesh(
        vertices=np.concatenate([mesh.vertices for mesh in meshes]),
        faces=np.concatenate([mesh.faces + at for mesh, at in zip(meshes, first, strict=False)]),
        normals=np.concatenate([mesh.normals for mesh in meshes]),
    )
    owners = np.repeat(np.arange(len(meshes)), [len(mesh.faces) for mesh in meshes])
    return whole, owners.astype(np.int64)


def _lamp(azimuth: float, elevation: float, color: FloatArray, spread: float) -> Light:
    c = np.cos(elevation)
    direction = np.array([np.cos(azimuth) * c, np.sin(azimuth) * c, np.sin(elevation)])
    return Light(direction=direction, color=color, spread=spread)


def _prints(rng: np.random.Generator, radius: float) -> FloatArray:
    """Scattered sheets and coasters: x y cos sin half-width half-height round r g b cell."""
    count = 26
    out = np.empty((count, 11))
    distance = radius * np.sqrt(rng.uniform(0.03, 0.95, count))
    angle, turn = rng.uniform(0, 2 * np.pi, count), rng.uniform(0, 2 * np.pi, count)
    out[:, 0], out[:, 1] = distance * np.cos(angle), distance * np.sin(angle)
    out[:, 2], out[:, 3] = np.cos(turn), np.sin(turn)
    out[:, 4] = radius * rng.uniform(0.04, 0.12, count)
    out[:, 5] = out[:, 4] * rng.uniform(0.5, 1.0, count)
    out[:, 6] = rng.uniform(size=count) < 0.3
    out[out[:, 6] > 0, 5] = out[out[:, 6] > 0, 4]
    out[:, 7:10] = rng.uniform(0.15, 0.85, (count, 3))
    out[:, 10] = out[:, 4] * rng.uniform(0.07, 0.2, count)
    return out


def table_grid(radius: float, side: int) -> FloatArray:
    """(n * n, 3) points of the table's light map, over the square around the disc."""
    axis = np.linspace(-radius, radius, side)
    x, y = np.meshgrid(axis, axis, indexing="ij")
    return np.stack([x, y, np.full_like(x, 2e-5)], axis=-1).reshape(-1, 3)


def _sphere(count: int) -> FloatArray:
    """Evenly spread unit vectors (Fibonacci)."""
    k = np.arange(count) + 0.5
    z, turn = 1 - 2 * k / count, np.pi * (1 + 5**0.5) * k
    rho = np.sqrt(1 - z * z)
    return np.stack([rho * np.cos(turn), rho * np.sin(turn), z], axis=1)


def _ambient(
    tracer: Tracer, mesh: TriangleMesh, radius: float, side: int, bounce: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Light of the sky above and of the table below, with the object in its own way."""
    sky = np.array([0.34, 0.36, 0.4])
    start = mesh.vertices + 4e-4 * mesh.normals
    by_vertex = np.zeros_like(start)
    grid = table_grid(radius, side)
    by_cell = np.zeros_like(grid)
    directions = _sphere(64)
    near = np.linalg.norm(grid[:, :2], axis=1) < 0.75 * radius
    for d in directions:
        cosine = np.maximum(mesh.normals @ d, 0.0)
        facing = np.flatnonzero(cosine > 0)
        free = ~tracer.blocked(start[facing], d)
        color = sky * (0.75 + 0.5 * d[2]) if d[2] > 0 else 0.45 * bounce
        by_vertex[facing] += (4 / len(directions)) * (cosine[facing] * free)[:, None] * color
        if d[2] > 0:
            free_cell = np.ones(len(grid), dtype=bool)
            free_cell[near] = ~tracer.blocked(grid[near], d)
            by_cell += (4 / len(directions)) * d[2] * free_cell[:, None] * color
    return by_vertex, by_cell.reshape(side, side, 3)


def bake_light(scene: Scene, turn: FloatArray, samples: int) -> tuple[FloatArray, FloatArray]:
    """Light at the vertices (V, 4: RGB, key light's share) and on the table (n, n, 3).

    Parameters
    ----------
    turn
        3x3 object_from_room.
    samples
        Shadow rays a lamp and point.
    """
    start = scene.mesh.vertices + 4e-4 * scene.mesh.normals
    vertex_light = np.zeros((len(start), 4))
    vertex_light[:, :3] = scene.ambient[0]
    cell_light = scene.ambient[1].reshape(-1, 3).copy()
    grid = table_grid(scene.table_radius_m, len(scene.ambient[1]))
    rng = np.random.default_rng([scene.options.seed, 41])
    for number, light in enumerate(scene.lights):
        for _ in range(samples):
            d = light.direction + light.spread * rng.normal(size=3)
            d = turn @ (d / np.linalg.norm(d))
            if d[2] < 0.05:
                continue
            cosine = np.maximum(scene.mesh.normals @ d, 0.0)
            facing = np.flatnonzero(cosine > 0)
            free = ~scene.tracer.blocked(start[facing], d) / samples
            vertex_light[facing, :3] += (cosine[facing] * free)[:, None] * light.color
            if number == 0:
                vertex_light[facing, 3] += free
            cell_light += (d[2] / samples * ~scene.tracer.blocked(grid, d))[:, None] * light.color
    return vertex_light, cell_light.reshape(scene.ambient[1].shape)
