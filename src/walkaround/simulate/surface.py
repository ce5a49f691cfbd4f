"""Closed triangle meshes from implicit surfaces, by naive surface nets (Gibson 1998, 10.1007/BFb0056277)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from walkaround.types import FloatArray, IntArray

Field = Callable[[FloatArray], FloatArray]
"""(N, 3) points -> (N,) values, negative inside, slope about 1 near the surface."""


@dataclass(frozen=True, kw_only=True)
class TriangleMesh:
    """A closed mesh with smooth normals."""

    vertices: FloatArray  # (V, 3) metres
    faces: IntArray  # (F, 3), counter-clockwise from outside
    normals: FloatArray  # (V, 3) unit, outwards


def mesh_field(field: Field, low: FloatArray, high: FloatArray, *, resolution: int) -> TriangleMesh:
    """Mesh the zero level of ``field`` in a box that holds it with some room to spare.

    Parameters
    ----------
    resolution
        Cells along the box's longest side.
    """
    step = float((high - low).max()) / resolution
    values, low = _sample(field, low, high, step)
    cells, vertices = _cell_vertices(values, low, step)
    faces = _faces(values, cells)
    for _ in range(3):
        slope = _gradient(field, vertices, 0.3 * step)
        size2 = np.maximum((slope**2).sum(axis=1), 1e-3)
        move = -(field(vertices) / size2)[:, None] * slope
        vertices = vertices + np.clip(move, -0.5 * step, 0.5 * step)
    slope = _gradient(field, vertices, 0.6 * step)
    normals = slope / np.maximum(np.linalg.norm(slope, axis=1, keepdims=True), 1e-12)
    return TriangleMesh(vertices=vertices, faces=faces, normals=normals)


def _sample(field: Field, low: FloatArray, high: FloatArray, step: float) -> tuple[FloatArray, FloatArray]:
    """Values on a grid: everywhere on each fourth node, finely only near the surface."""
    coarse = np.maximum(np.ceil((high - low) / (4 * step)).astype(int), 2)
    axes = [low[a] + 4 * step * np.arange(coarse[a] + 1) for a in range(3)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    rough = field(points.reshape(-1, 3)).reshape(points.shape[:3])
    near = np.full(tuple(coarse), np.inf)
    for i, j, k in np.ndindex(2, 2, 2):
        corner = rough[i : i + coarse[0], j : j + coarse[1], k : k + coarse[2]]
        near = np.minimum(near, np.abs(corner))
    active = near < 4 * step * 1.8
    fine = 4 * coarse + 1
    wanted = np.zeros(tuple(fine), dtype=bool)
    block = active.repeat(4, 0).repeat(4, 1).repeat(4, 2)
    for i, j, k in np.ndindex(2, 2, 2):
        wanted[i : i + 4 * coarse[0], j : j + 4 * coarse[1], k : k + 4 * coarse[2]] |= block
    nearest = np.ix_(*[np.minimum((np.arange(n) + 2) // 4, c) for n, c in zip(fine, coarse, strict=True)])
    values = rough[nearest].copy()
    index = np.argwhere(wanted)
    values[wanted] = field(low + step * index)
    return values, low


def _gradient(field: Field, points: FloatArray, h: float) -> FloatArray:
    out = np.empty_like(points)
    for axis in range(3):
        shift = np.zeros(3)
        shift[axis] = h
        out[:, axis] = (field(points + shift) - field(points - shift)) / (2 * h)
    return out


def _cell_vertices(values: FloatArray, low: FloatArray, step: float) -> tuple[IntArray, FloatArray]:
    """Vertex number of each cell (-1: none) and the vertices: means of the edge crossings."""
    inside = values < 0
    n = np.array(values.shape) - 1
    corners = list(np.ndindex(2, 2, 2))
    count = np.zeros(tuple(n), dtype=np.int8)
    for i, j, k in corners:
        count += inside[i : i + n[0], j : j + n[1], k : k + n[2]]
    where = np.argwhere((count > 0) & (count < 8))
    cells = np.full(tuple(n), -1, dtype=np.int64)
    cells[tuple(where.T)] = np.arange(len(where))
    total, weight = np.zeros((len(where), 3)), np.zeros(len(where))
    for a in corners:
        for axis in range(3):
            if a[axis]:
                continue
            b = np.array(a)
            b[axis] = 1
            va = values[tuple((where + np.array(a)).T)]
            vb = values[tuple((where + b).T)]
            cross = (va < 0) != (vb < 0)
            share = np.where(cross, va / np.where(cross, va - vb, 1.0), 0.0)
            spot = np.array(a, dtype=float)[None] + share[:, None] * (b - np.array(a))
            total += cross[:, None] * spot
            weight += cross
    vertices = low + step * (where + total / weight[:, None])
    return cells, vertices


def _faces(values: FloatArray, cells: IntArray) -> IntArray:
    inside = values < 0
    out = []
    for axis in range(3):
        u, v = (axis + 1) % 3, (axis + 2) % 3
        first = np.take(inside, range(values.shape[axis] - 1), axis=axis)
        second = np.take(inside, range(1, values.shape[axis]), axis=axis)
        edge = np.argwhere(first != second)
        starts_inside = first[tuple(edge.T)]
        quad = []
        for du, dv in ((-1, -1), (0, -1), (0, 0), (-1, 0)):
            cell = edge.copy()
            cell[:, u] += du
            cell[:, v] += dv
            quad.append(cells[tuple(cell.T)])
        q = np.stack(quad, axis=1)
        q[~starts_inside] = q[~starts_inside][:, ::-1]
        out += [q[:, [0, 1, 2]], q[:, [0, 2, 3]]]
    return np.concatenate(out)
