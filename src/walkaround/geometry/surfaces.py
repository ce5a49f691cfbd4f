"""Which surface a pixel without depth belongs to, told by the depth around it and by the image.

Around a hole the known depth falls into pieces, cut where it jumps from one surface to another. Pieces that
continue each other are one surface. A pixel of the hole goes to the surface that a random walk over the
image, which shuns edges, reaches first (Grady, 2006, doi:10.1109/TPAMI.2006.233). How much a contrast is to
be shunned is learned from the known pixels: where depth steps at contrasts, they count; on a printed cloth
they do not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import splu

from walkaround.types import BoolArray, Float32Array, FloatArray, IntArray

_LEAST_JUMP = 0.004
"""Relative difference of two neighbours that is never taken for a jump below this."""
_JUMP = 8.0
"""Times the median difference of neighbours: more is a jump from one surface to another."""
_CONTINUES = 3.0
"""Jumps by which two pieces may miss each other and still be one surface."""
_SEPARATE_PX = 3
"""So many jumps between two pieces that touch show that they are two surfaces."""
_LEAST_PX = 6
"""Smaller pieces are no surface, unless there is nothing else around the hole."""
_MOST = 8
"""Surfaces around one hole; the smallest beyond are left out."""
_LEAST_CONDUCTANCE = 1e-6
_DOUBT = 10.0
"""Pairs of neighbours with the mean step that each contrast is thought to have beside its own."""


@dataclass(frozen=True, kw_only=True)
class StepModel:
    """How the depth of neighbours differs.

    Attributes
    ----------
    jump
        Relative difference beyond which two neighbours lie on two surfaces.
    contrasts, squares
        (K,) contrasts (0..1), and the mean squared relative difference there, which never falls.
    """

    jump: float
    contrasts: FloatArray
    squares: FloatArray

    def conductance(self, contrast: FloatArray, power: float) -> FloatArray:
        """Return how easily a walk crosses each contrast, 1 where there is none."""
        ratio = self.squares[0] / np.interp(contrast, self.contrasts, self.squares)
        return np.asarray(ratio**power + _LEAST_CONDUCTANCE)


@dataclass(frozen=True, kw_only=True)
class _Region:
    """The pixels around and in the holes, in rows.

    Attributes
    ----------
    places
        (N, 2) row, column.
    known, inverse
        (N,) whether depth is known, and its inverse.
    first, second, contrast
        (E,) pairs of neighbours, and how their colours differ.
    part
        (N,) number of the connected part.
    """

    places: IntArray
    known: BoolArray
    inverse: FloatArray
    first: IntArray
    second: IntArray
    contrast: FloatArray
    part: IntArray


def surfaces_of(
    inverse: FloatArray, known: BoolArray, region: BoolArray, colours: Float32Array, *, power: float
) -> IntArray:
    """Return (H, W) the number of each pixel's surface; -1 outside of the region.

    Known specks go to a surface as well: they may be its noise.

    Parameters
    ----------
    inverse, known
        (H, W) inverse depth, and where it is known.
    region
        (H, W) holes and the known pixels around them.
    colours
        (H, W, C) 0..1.
    power
        Of the learned conductance; 0 looks at no colours.
    """
    surface = np.full(region.shape, -1)
    pixels = _gather(inverse, known, region, colours)
    if not pixels.known.any():
        return surface
    model = _learn_steps(inverse, known, colours)
    pieces = _join(_cut(pixels, model.jump), pixels, model.jump)
    seeds = _seeds(pieces, pixels)
    surface[region] = _walk(seeds, pixels, model.conductance(pixels.contrast, power))
    return surface


def _neighbours(number: IntArray) -> tuple[IntArray, IntArray]:
    """Return the numbers (>= 0) of all pairs of pixels side by side or one above the other."""
    pairs = [(number[:, :-1], number[:, 1:]), (number[:-1], number[1:])]
    both = [(first >= 0) & (second >= 0) for first, second in pairs]
    first, second = (
        np.concatenate([pair[side][ok] for pair, ok in zip(pairs, both, strict=True)]) for side in (0, 1)
    )
    return first, second


def _numbered(where: BoolArray) -> IntArray:
    number = np.full(where.shape, -1)
    number[where] = np.arange(int(where.sum()))
    return number


def _contrast(colours: Float32Array, first: IntArray, second: IntArray) -> FloatArray:
    return np.abs(colours[first] - colours[second]).max(axis=1, initial=0.0).astype(np.float64)


def _gather(inverse: FloatArray, known: BoolArray, region: BoolArray, colours: Float32Array) -> _Region:
    first, second = _neighbours(_numbered(region))
    places = np.argwhere(region)
    _, part = _components(len(places), first, second)
    return _Region(
        places=places, known=known[region], inverse=inverse[region], first=first, second=second,
        contrast=_contrast(colours[region], first, second), part=part,
    )  # fmt: skip


def _components(count: int, first: IntArray, second: IntArray) -> tuple[int, IntArray]:
    graph = sparse.coo_matrix((np.ones(len(first)), (first, second)), shape=(count, count))
    number, labels = connected_components(graph, directed=False)
    return int(number), np.asarray(labels)


def _learn_steps(inverse: FloatArray, known: BoolArray, colours: Float32Array) -> StepModel:
    """Return how all known neighbours differ, by the contrast between them."""
    first, second = _neighbours(_numbered(known))
    if not len(first):
        return StepModel(jump=_LEAST_JUMP, contrasts=np.zeros(1), squares=np.ones(1))
    log = np.log(inverse[known])
    step, contrast = np.abs(log[first] - log[second]), _contrast(colours[known], first, second)
    shares = np.r_[np.linspace(0, 0.9, 12), 1 - np.geomspace(0.1, 0.002, 12)]
    limits = np.unique(np.quantile(contrast, shares))  # the first bin is the least contrast by itself
    bins = np.minimum(np.searchsorted(limits, contrast), len(limits) - 1)
    count = np.bincount(bins, minlength=len(limits))
    total = np.bincount(bins, step**2, minlength=len(limits))
    squares = (total + _DOUBT * float(np.mean(step**2))) / (count + _DOUBT)
    return StepModel(
        jump=max(_JUMP * float(np.median(step)), _LEAST_JUMP),
        contrasts=np.r_[limits[0], (limits[1:] + limits[:-1]) / 2],
        squares=np.maximum.accumulate(np.maximum(squares, 1e-12)),
    )


def _cut(pixels: _Region, jump: float) -> IntArray:
    """Return (N,) the piece of each known pixel, cut where depth jumps; -1 for the others."""
    both, jumps = _jumps(pixels, jump)
    whole = both & ~jumps
    _, pieces = _components(len(pixels.known), pixels.first[whole], pixels.second[whole])
    return np.where(pixels.known, pieces, -1)


def _jumps(pixels: _Region, jump: float) -> tuple[BoolArray, BoolArray]:
    """Return which pairs of neighbours are known, and across which of them the depth jumps."""
    both = pixels.known[pixels.first] & pixels.known[pixels.second]
    log = np.log(np.where(pixels.known, pixels.inverse, 1.0))
    return both, both & (np.abs(log[pixels.first] - log[pixels.second]) > jump)


def _join(pieces: IntArray, pixels: _Region, jump: float) -> IntArray:
    """Give pieces of one part one number where they continue each other and no jump parts them.

    The change between two places of a quadratic surface is the mean of its slopes there times the way.
    """
    _, jumps = _jumps(pixels, jump)
    touching: dict[tuple[int, int], int] = {}
    for pair in zip(pieces[pixels.first[jumps]].tolist(), pieces[pixels.second[jumps]].tolist(), strict=True):
        touching[pair] = touching[pair[::-1]] = touching.get(pair, 0) + 1
    apart = {pair for pair, count in touching.items() if count >= _SEPARATE_PX}
    groups: dict[int, set[int]] = {}
    for _, first, second in sorted(_continuations(pieces, pixels, _CONTINUES * jump)):
        one, other = groups.get(first, {first}), groups.get(second, {second})
        if one is other or any((a, b) in apart for a in one for b in other):
            continue
        joined = one | other
        groups.update(dict.fromkeys(joined, joined))
    table = np.arange(int(pieces.max()) + 1)
    for piece, group in groups.items():
        table[piece] = min(group)
    return np.where(pieces >= 0, table[pieces], -1)


def _continuations(pieces: IntArray, pixels: _Region, tolerance: float) -> list[tuple[float, int, int]]:
    """Return (misfit, piece, piece) of those around one hole that continue each other."""
    by_part: dict[int, list[tuple[int, FloatArray, float, FloatArray]]] = {}
    order = np.argsort(pieces, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(pieces[order]) > 0])
    for rows in np.split(order, starts[1:]):
        if pieces[rows[0]] >= 0 and len(rows) >= _LEAST_PX:
            fitted = _fit_plane(pixels.places[rows].astype(np.float64), pixels.inverse[rows])
            by_part.setdefault(int(pixels.part[rows[0]]), []).append((int(pieces[rows[0]]), *fitted))
    found = []
    for planes in by_part.values():
        for k, (first, middle, value, slope) in enumerate(planes):
            for second, other_middle, other_value, other_slope in planes[k + 1 :]:
                way = other_middle - middle
                expected = 0.5 * float(np.sum((slope + other_slope) * way))
                misfit = abs(other_value - value - expected) / value
                if misfit < tolerance:
                    found.append((misfit, first, second))
    return found


def _fit_plane(places: FloatArray, values: FloatArray) -> tuple[FloatArray, float, FloatArray]:
    """Return the middle, the mean and the slope of the plane through ``values``."""
    middle, mean = places.mean(axis=0), float(values.mean())
    away = places - middle
    # sums of NumPy's own: a threaded BLAS may round otherwise from run to run
    normal = np.einsum("ni,nj->ij", away, away) + 1e-3 * len(values) * np.eye(2)
    return middle, mean, np.linalg.solve(normal, np.einsum("ni,n->i", away, values - mean))


def _seeds(pieces: IntArray, pixels: _Region) -> IntArray:
    """Return (N,) the surface of each known pixel: its place among those of its part, largest first.

    -1 for pixels that are not known and -1.
    """
    numbers, rows, counts = np.unique(pieces[pixels.known], return_inverse=True, return_counts=True)
    part_of = np.zeros(len(numbers), int)
    part_of[rows] = pixels.part[pixels.known]
    place, taken = np.full(len(numbers), -1), np.zeros(int(pixels.part.max()) + 1, int)
    for index in np.argsort(-counts, kind="stable"):
        part = part_of[index]
        if taken[part] == 0 or (counts[index] >= _LEAST_PX and taken[part] < _MOST):
            place[index] = taken[part]
            taken[part] += 1
    seeds = np.full(len(pieces), -1)
    seeds[pixels.known] = place[rows]
    return seeds


def _walk(seeds: IntArray, pixels: _Region, conductance: FloatArray) -> IntArray:
    """Return (N,) the surface of every pixel, numbered through all parts; -1 without one around."""
    many = int(seeds.max()) + 1
    several = np.isin(pixels.part, np.unique(pixels.part[seeds > 0]))
    anchored = np.isin(pixels.part, np.unique(pixels.part[seeds >= 0]))
    labels = np.where(anchored & (seeds < 0), 0, seeds)
    free = several & (seeds < 0)
    if free.any():
        count = len(seeds)
        links = sparse.coo_matrix((conductance, (pixels.first, pixels.second)), shape=(count, count)).tocsr()
        links = links + links.T
        degree = np.asarray(links.sum(axis=1)).ravel()
        laplacian = (sparse.diags(degree + 1e-9) - links).tocsr()[free]
        given = several & (seeds >= 0)
        sources = np.eye(many)[seeds[given]]
        chances = splu(laplacian[:, free].tocsc()).solve(-(laplacian[:, given] @ sources))
        labels[free] = chances.argmax(axis=1)
    return np.where(labels >= 0, pixels.part * many + labels, -1)
