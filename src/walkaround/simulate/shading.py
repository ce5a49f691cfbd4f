"""Procedural colours, compiled: solid noise on the object, wood or stone with prints on the table, a room.

All coordinates are metres. The noise fades where its waves get shorter than a pixel's footprint, so a
surface far away turns into its mean colour instead of flickering.
"""

from __future__ import annotations

from math import atan2, cos, floor, pi, sin, sqrt

import numpy as np
from numba import njit

from walkaround.types import BoolArray, Float32Array, FloatArray, IntArray

_MASK = 0xFFFFFFFF


@njit(cache=True, nogil=True)
def _hash(i: int, j: int, k: int, seed: int) -> float:
    h = (i * 374761393 + j * 668265263 + k * 1440662683 + seed * 1274126177) & _MASK
    h = ((h ^ (h >> 13)) * 1274126177) & _MASK
    h = ((h ^ (h >> 15)) * 2246822519) & _MASK
    return (h ^ (h >> 16)) / 4294967296.0


@njit(cache=True, nogil=True)
def _noise(x: float, y: float, z: float, seed: int) -> float:
    """Value noise in 0..1 on the unit lattice, quintic weights."""
    i, j, k = floor(x), floor(y), floor(z)
    u, v, w = x - i, y - j, z - k
    u = u * u * u * (u * (u * 6 - 15) + 10)
    v = v * v * v * (v * (v * 6 - 15) + 10)
    w = w * w * w * (w * (w * 6 - 15) + 10)
    a = _hash(i, j, k, seed) * (1 - u) + _hash(i + 1, j, k, seed) * u
    b = _hash(i, j + 1, k, seed) * (1 - u) + _hash(i + 1, j + 1, k, seed) * u
    c = _hash(i, j, k + 1, seed) * (1 - u) + _hash(i + 1, j, k + 1, seed) * u
    d = _hash(i, j + 1, k + 1, seed) * (1 - u) + _hash(i + 1, j + 1, k + 1, seed) * u
    return (a * (1 - v) + b * v) * (1 - w) + (c * (1 - v) + d * v) * w


@njit(cache=True, nogil=True)
def _fbm(x: float, y: float, z: float, octaves: int, footprint: float, seed: int) -> float:
    """Sum of octaves about 0, roughly -1..1; ``footprint`` is a pixel's size in these coordinates."""
    total, weight, norm = 0.0, 1.0, 0.0
    for octave in range(octaves):
        norm += weight
        fade = min(1.0, max(0.0, 2.0 - 2.5 * footprint))
        if fade > 0:
            total += weight * fade * (2 * _noise(x, y, z, seed + octave) - 1)
        x, y, z = (
            2 * (0.8 * x + 0.6 * y) + 17.3,
            2 * (0.8 * (0.8 * y - 0.6 * x) + 0.6 * z) - 5.1,
            2 * (0.8 * z - 0.6 * (0.8 * y - 0.6 * x)) + 9.7,
        )
        footprint *= 2
        weight *= 0.62
    return 1.8 * total / norm


@njit(cache=True, nogil=True)
def _ramp(low: float, high: float, x: float) -> float:
    t = min(1.0, max(0.0, (x - low) / (high - low)))
    return t * t * (3 - 2 * t)


@njit(cache=True, nogil=True)
def _object_albedo(
    p: FloatArray, pixel: float, colors: FloatArray, texture: float, seed: int, out: FloatArray
) -> int:
    """Write the colour at a point of the object; return which of its colours it is nearest to."""
    x, y, z = p[0], p[1], p[2]
    a = _fbm(24 * x, 24 * y, 24 * z, 4, 24 * pixel, seed)
    b = _fbm(70 * x + 3, 70 * y, 70 * z, 4, 70 * pixel, seed + 50)
    c = _fbm(190 * x, 190 * y + 8, 190 * z, 3, 190 * pixel, seed + 90)
    first, second = _ramp(-0.12, 0.12, a + 0.25 * b), _ramp(0.16, 0.3, b + 0.2 * c)
    light = max(0.25, 1.0 + 0.42 * b + 0.5 * c)
    for n in range(3):
        value = colors[0, n] * (1 - first) + colors[1, n] * first
        value = (value * (1 - second) + colors[2, n] * second) * light
        mean = 0.4 * colors[0, n] + 0.4 * colors[1, n] + 0.2 * colors[2, n]
        out[n] = min(0.95, max(0.01, mean + texture * (value - mean)))
    return 2 if second > 0.5 else (1 if first > 0.5 else 0)


@njit(cache=True, nogil=True)
def _into_sector(p: FloatArray, count: int) -> None:
    """Turn a point about the z axis into the first of ``count`` equal sectors."""
    angle = 2 * pi / count
    back = -angle * floor(atan2(p[1], p[0]) / angle)
    x, y = p[0], p[1]
    p[0], p[1] = cos(back) * x - sin(back) * y, sin(back) * x + cos(back) * y


@njit(cache=True, nogil=True)
def _table_albedo(
    x: float,
    y: float,
    pixel: float,
    kind: int,
    colors: FloatArray,
    prints: FloatArray,
    seed: int,
    out: FloatArray,
) -> int:
    """Write the colour at a point of the table; return which patch of colour it is (0: the bare top)."""
    if kind == 0:  # plain
        for n in range(3):
            out[n] = colors[0, n]
        return 0
    patch = 0
    if kind == 1:  # wood: grain along x, bent by a slow noise
        bend = 0.25 * _fbm(4 * x, 4 * y, 0.5, 2, 4 * pixel, seed)
        a = _fbm(5 * x, 42 * (y + 0.12 * bend), 0.2, 4, 42 * pixel, seed + 10)
        b = _fbm(30 * x, 260 * y, 0.7, 3, 260 * pixel, seed + 20)
        c = _fbm(55 * x, 55 * y, 1.3, 4, 55 * pixel, seed + 30)
    else:  # stone
        a = _fbm(14 * x, 14 * y, 0.2, 5, 14 * pixel, seed + 10)
        b = _fbm(90 * x, 90 * y, 0.7, 4, 90 * pixel, seed + 20)
        c = _fbm(300 * x, 300 * y, 1.3, 2, 300 * pixel, seed + 30)
    share, light = _ramp(-0.45, 0.45, a), max(0.2, 1.0 + 0.28 * b + 0.22 * c)
    for n in range(3):
        out[n] = (colors[0, n] * (1 - share) + colors[1, n] * share) * light
    for m in range(prints.shape[0]):  # x y cos sin half-width half-height round r g b cell
        dx, dy = x - prints[m, 0], y - prints[m, 1]
        u, v = prints[m, 2] * dx + prints[m, 3] * dy, prints[m, 2] * dy - prints[m, 3] * dx
        w, h = prints[m, 4], prints[m, 5]
        if abs(u) > w or abs(v) > h or (prints[m, 6] > 0 and u * u + v * v > w * w):
            continue
        cell = prints[m, 10]
        ink = _hash(floor(u / cell), floor(v / cell), m, seed + 77)
        border = min(w - abs(u), h - abs(v)) < 0.12 * min(w, h)
        shade = 1.0
        if not border:
            shade = 0.12 if ink < 0.42 else (0.55 if ink < 0.55 else 1.0)
            shade += (0.62 - shade) * _ramp(0.5, 1.5, pixel / cell)
        for n in range(3):
            tint = prints[m, 7 + (n + (1 if ink > 0.9 else 0)) % 3]
            out[n] = tint * shade * (1 + 0.15 * c)
        patch = 5 * (m + 1)
        if not border and pixel < cell:
            patch += 1 if ink < 0.42 else (2 if ink < 0.55 else (3 if ink <= 0.9 else 4))
    for n in range(3):
        out[n] = min(0.95, max(0.01, out[n]))
    return patch


@njit(cache=True, nogil=True)
def _room(
    o: FloatArray, d: FloatArray, room: FloatArray, plain: bool, pixel: float, seed: int, out: FloatArray
) -> int:
    """Write the colour of the room's inside (a box) along a ray: walls with pictures, boards, ceiling.

    Returns which patch of colour it is.
    """
    patch = 0
    t, wall = 1e30, 0
    for axis in range(3):
        if d[axis] != 0.0:
            side = room[1, axis] if d[axis] > 0 else room[0, axis]
            s = (side - o[axis]) / d[axis]
            if 0 < s < t:
                t, wall = s, axis * 2 + (1 if d[axis] > 0 else 0)
    px, py, pz = o[0] + t * d[0], o[1] + t * d[1], o[2] + t * d[2]
    foot = pixel * t
    light = 0.55 + 0.12 * (wall % 3)
    if wall == 5:
        out[0] = out[1] = out[2] = 0.8
    elif plain:
        out[0] = out[1] = out[2] = 0.5 * light
    elif wall == 4:  # boards
        row = floor(px / 0.14)
        piece = floor(py / 1.1 + 7 * _hash(row, 1, 2, seed))
        tone = 0.25 + 0.3 * _hash(row, piece, 3, seed)
        patch = 1 + (row + 64) * 64 + piece + 32
        tone *= 1 + 0.35 * _fbm(40 * px, 5 * py, 0.4, 4, 40 * foot, seed + 40)
        out[0], out[1], out[2] = tone * light, 0.72 * tone * light, 0.48 * tone * light
    else:
        u = py if wall < 2 else px
        tone = 0.62 * (1 + 0.12 * _fbm(3 * u, 3 * pz, wall, 4, 3 * foot, seed + 60))
        out[0], out[1], out[2] = tone * light, 0.97 * tone * light, 0.9 * tone * light
        i, j = floor(u / 0.7), floor(pz / 0.7)
        if _hash(i, j, wall, seed + 5) < 0.6:
            a = abs(u / 0.7 - i - 0.5) - (0.18 + 0.2 * _hash(i, j, wall, seed + 6))
            b = abs(pz / 0.7 - j - 0.5) - (0.18 + 0.2 * _hash(i, j, wall, seed + 7))
            if max(a, b) < 0:
                frame = max(a, b) > -0.035
                patch = 1 + 2 * ((i + 32) * 64 + j + 32) + (1 if frame else 0)
                for n in range(3):
                    ink = _fbm(9 * u + 5 * n, 9 * pz, wall + 0.5 * n, 5, 9 * foot, seed + 200 + i + 31 * j)
                    tint = 0.15 + 0.6 * _hash(i, j, wall, seed + 8 + n)
                    out[n] = 0.06 if frame else max(0.02, tint * (1 + 0.9 * ink)) * light
    return wall + 6 * patch


@njit(cache=True, nogil=True)
def meet_faces(
    near: IntArray,  # (M,) places in the outputs
    rays: FloatArray,  # (M, 3)
    origin: FloatArray,
    vertices: FloatArray,
    faces: IntArray,
    face: IntArray,  # (N,) in: the face that was hit or -1
    bary: FloatArray,  # (N, 2) out
    depth: FloatArray,  # (N,) out
) -> None:
    """Cut rays with the planes of known faces in double precision (the tracer works in single)."""
    e, g, s, p, q = np.zeros(3), np.zeros(3), np.zeros(3), np.zeros(3), np.zeros(3)
    for m in range(len(near)):
        f = face[near[m]]
        if f < 0:
            continue
        i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
        for n in range(3):
            e[n], g[n] = vertices[j, n] - vertices[i, n], vertices[k, n] - vertices[i, n]
            s[n] = origin[n] - vertices[i, n]
        for n in range(3):
            a, b = (n + 1) % 3, (n + 2) % 3
            p[n] = rays[m, a] * g[b] - rays[m, b] * g[a]
            q[n] = s[a] * e[b] - s[b] * e[a]
        det = e[0] * p[0] + e[1] * p[1] + e[2] * p[2]
        t = (g[0] * q[0] + g[1] * q[1] + g[2] * q[2]) / det if abs(det) > 1e-18 else 0.0
        if t <= 0.0:  # seen exactly edge-on
            face[near[m]] = -1
            continue
        depth[near[m]] = t
        bary[near[m], 0] = (s[0] * p[0] + s[1] * p[1] + s[2] * p[2]) / det
        bary[near[m], 1] = (rays[m, 0] * q[0] + rays[m, 1] * q[1] + rays[m, 2] * q[2]) / det


@njit(cache=True, nogil=True)
def find_edges(patches: IntArray, depth: FloatArray, jump: float) -> BoolArray:
    """(H, W) True beside a change of patch, or of depth by more than ``jump`` times the depth."""
    edges = np.zeros(patches.shape, dtype=np.bool_)
    for row in range(patches.shape[0]):
        for col in range(patches.shape[1]):
            for down, right in ((0, 1), (1, 0)):
                i, j = row + down, col + right
                if i == patches.shape[0] or j == patches.shape[1]:
                    continue
                a, b = depth[row, col], depth[i, j]
                if patches[row, col] != patches[i, j] or abs(a - b) > jump * max(a, b):
                    edges[row, col] = edges[i, j] = True
    return edges


@njit(cache=True, nogil=True)
def _object_light(
    f: int, b1: float, b2: float, d: FloatArray, length: float, pixel: float, turn: FloatArray,
    vertices: FloatArray, normals: FloatArray, faces: IntArray, vertex_light: FloatArray, key: FloatArray,
    own: int, colors: FloatArray, texture: float, symmetry: int, gloss: float, seed: int, out: FloatArray,
) -> int:  # fmt: skip
    """Write the light that a point of face ``f`` sends along ``-d``; return its patch of colour.

    ``pixel`` is a pixel's size at that distance.
    """
    b0 = 1 - b1 - b2
    i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
    p, color = np.zeros(3), np.zeros(3)
    dot, size, facing = 0.0, 0.0, 0.0
    for n in range(3):
        p[n] = b0 * vertices[i, n] + b1 * vertices[j, n] + b2 * vertices[k, n]
        half = 0.0  # Blinn-Phong highlight of the key light
        normal = b0 * normals[i, n] + b1 * normals[j, n] + b2 * normals[k, n]
        for m in range(3):
            half += turn[n, m] * (key[m] - d[m] / length)
            facing -= normal * turn[n, m] * d[m] / length
        dot += half * normal
        size += half * half
    if own == 0 and symmetry > 1:
        _into_sector(p, symmetry)
    patch = _object_albedo(
        p, pixel / sqrt(max(0.1, facing)), colors, texture if own == 0 else 1.0, seed + 1000 * own, color
    )
    lit = b0 * vertex_light[i, 3] + b1 * vertex_light[j, 3] + b2 * vertex_light[k, 3]
    shine = gloss * lit * max(0.0, dot / sqrt(size + 1e-12)) ** 40 * 3.0
    for n in range(3):
        e = b0 * vertex_light[i, n] + b1 * vertex_light[j, n] + b2 * vertex_light[k, n]
        out[n] = color[n] * e + shine
    return -1 - patch - 4 * own


@njit(cache=True, nogil=True)
def _table_light(
    x: float, y: float, pixel: float, turn: FloatArray, table_light: FloatArray, table: FloatArray,
    colors: FloatArray, prints: FloatArray, seed: int, out: FloatArray,
) -> int:  # fmt: skip
    """Write the light that a point of the table sends everywhere; return its patch of colour."""
    patch = _table_albedo(x, y, pixel, int(table[1]), colors, prints, seed, out)
    ox, oy = turn[0, 0] * x + turn[0, 1] * y, turn[1, 0] * x + turn[1, 1] * y
    side = table_light.shape[0] - 1
    gx, gy = (ox / table[0] + 1) * 0.5 * side, (oy / table[0] + 1) * 0.5 * side
    i, j = min(side - 1, int(gx)), min(side - 1, int(gy))
    a, b = gx - i, gy - j
    for n in range(3):
        e = (table_light[i, j, n] * (1 - b) + table_light[i, j + 1, n] * b) * (1 - a)
        e += (table_light[i + 1, j, n] * (1 - b) + table_light[i + 1, j + 1, n] * b) * a
        out[n] *= e
    return 2 * patch


@njit(cache=True, nogil=True)
def shade_pixels(
    out: Float32Array,  # (H * W, 3) linear light is added here
    patches: IntArray,  # (H * W,) becomes the patch of colour that was hit, for finding edges
    pixels: IntArray,  # (N,) row * W + column
    face: IntArray,  # (N,) face of the object or -1
    bary: FloatArray,  # (N, 2)
    hit_depth: FloatArray,  # (N,) z-depth
    width: int,
    weight: float,
    origin: FloatArray,  # (3,) in the room
    ray_matrix: FloatArray,  # (3, 3) room direction of (u, v, 1) pixels, z-depth 1
    shift: FloatArray,  # (2,) of the sample inside the pixel
    turn: FloatArray,  # (3, 3) object_from_room
    vertices: FloatArray,
    normals: FloatArray,
    faces: IntArray,
    vertex_light: FloatArray,  # (V, 4) irradiance RGB and key light's share
    key: FloatArray,  # (3,) direction to the key light, room
    table_light: FloatArray,  # (n, n, 3)
    table: FloatArray,  # (2,) radius, kind
    table_colors: FloatArray,
    prints: FloatArray,
    owners: IntArray,  # (F,) whose face it is: 0 the object's, 1 and on its neighbours'
    object_colors: FloatArray,  # (1 + neighbours, 3, 3)
    texture: float,
    symmetry: int,
    gloss: float,
    room: FloatArray,
    plain: bool,
    seed: int,
) -> None:
    """Add ``weight`` times the light that each of the pixels receives."""
    light, d = np.zeros(3), np.zeros(3)
    footprint = sqrt(ray_matrix[0, 0] ** 2 + ray_matrix[1, 0] ** 2 + ray_matrix[2, 0] ** 2)
    for at in range(len(pixels)):
        pixel = pixels[at]
        u, v = pixel % width + shift[0], pixel // width + shift[1]
        for n in range(3):
            d[n] = ray_matrix[n, 0] * u + ray_matrix[n, 1] * v + ray_matrix[n, 2]
        length = sqrt(d[0] * d[0] + d[1] * d[1] + d[2] * d[2])
        f, t = face[at], hit_depth[at]
        t_table = -origin[2] / d[2] if d[2] < 0 else 1e30
        x, y = origin[0] + t_table * d[0], origin[1] + t_table * d[1]
        if f >= 0 and t < t_table:
            patches[pixel] = _object_light(
                f, bary[at, 0], bary[at, 1], d, length, footprint * t, turn, vertices, normals, faces,
                vertex_light, key, owners[f], object_colors[owners[f]], texture, symmetry, gloss, seed,
                light,
            )  # fmt: skip
        elif t_table < 1e29 and x * x + y * y < table[0] * table[0]:
            size = footprint * t_table * sqrt(length / max(0.05, -d[2]))
            patches[pixel] = _table_light(
                x, y, size, turn, table_light, table, table_colors, prints, seed, light
            )
        else:
            patches[pixel] = 1 + 2 * _room(origin, d, room, plain, footprint, seed, light)
        for n in range(3):
            out[pixel, n] += weight * light[n]
