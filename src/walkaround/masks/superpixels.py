"""Superpixels of one photo, and the graph of those that touch.

SLIC (Achanta et al. 2012, 10.1109/TPAMI.2012.120) in CIE Lab; parts that came apart are split, small ones
join the neighbour they touch most.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numba import njit
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from walkaround.types import BoolArray, ByteArray, Float32Array, FloatArray, IntArray


@dataclass(frozen=True, kw_only=True)
class SuperpixelGraph:
    """N superpixels of an (h, w) image, and E pairs of touching ones."""

    labels: IntArray  # (h, w) 0..N-1
    area: FloatArray  # (N,) in mean superpixels
    lab: FloatArray  # (N, 3) mean CIE Lab
    roughness: FloatArray  # (N,) mean local standard deviation of L
    position: FloatArray  # (N, 2) x and y from the image's centre, in widths and heights
    at_border: BoolArray  # (N,)
    pairs: IntArray  # (E, 2) indices, smaller first
    length: FloatArray  # (E,) length of the common outline, in superpixel sides
    edge: FloatArray  # (E,) mean strength of the image's edges along it, Lab units

    @property
    def count(self) -> int:
        return len(self.area)

    @property
    def colour_step(self) -> FloatArray:
        """(E,) distance of the mean colours of touching superpixels."""
        return np.asarray(np.linalg.norm(self.lab[self.pairs[:, 0]] - self.lab[self.pairs[:, 1]], axis=1))


def build_graph(image_srgb: ByteArray, count: int, compactness: float = 12.0) -> SuperpixelGraph:
    """Cut an (h, w, 3) image into about ``count`` superpixels.

    ``compactness`` is the colour distance (Lab) that weighs as much as one superpixel's side.
    """
    lab = cv2.cvtColor(image_srgb.astype(np.float32) / 255, cv2.COLOR_RGB2Lab)
    labels = segment_slic(cv2.bilateralFilter(lab, 5, 10, 3), count, compactness)
    height, width = labels.shape
    number = int(labels.max()) + 1
    pixels = np.bincount(labels.ravel(), minlength=number).astype(np.float64)

    def mean(values: Float32Array | IntArray) -> FloatArray:
        sums = np.bincount(labels.ravel(), values.ravel().astype(np.float64), minlength=number)
        return np.asarray(sums / pixels)

    lightness = lab[..., 0]
    variance = cv2.blur(lightness * lightness, (9, 9)) - cv2.blur(lightness, (9, 9)) ** 2
    rows, columns = np.mgrid[:height, :width]
    frame = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    pairs, length, edge = _touching(labels, edge_strength(lab))
    return SuperpixelGraph(
        labels=labels,
        area=pixels / pixels.mean(),
        lab=np.stack([mean(lab[..., k]) for k in range(3)], axis=1),
        roughness=mean(np.sqrt(np.maximum(variance, 0))),
        position=np.stack([mean(columns) / width - 0.5, mean(rows) / height - 0.5], axis=1),
        at_border=np.isin(np.arange(number), frame),
        pairs=pairs,
        length=length / np.sqrt(pixels.mean()),
        edge=edge,
    )


def segment_slic(lab: Float32Array, count: int, compactness: float, iterations: int = 8) -> IntArray:
    """Return (h, w) labels 0..N-1, N about ``count``, of connected superpixels of an (h, w, 3) Lab image."""
    height, width = lab.shape[:2]
    step = float(np.sqrt(height * width / count))
    rows, columns = np.meshgrid(
        np.arange(step / 2, height, step), np.arange(step / 2, width, step), indexing="ij"
    )
    start = np.stack([rows.ravel(), columns.ravel()], axis=1)
    values = np.concatenate([np.moveaxis(np.mgrid[:height, :width], 0, -1), lab], axis=-1).astype(np.float64)
    centres = values[start[:, 0].astype(int), start[:, 1].astype(int)]
    labels = np.zeros((height, width), np.int64)
    distance = np.empty((height, width))
    for _ in range(iterations):
        _assign(values, centres, step, (compactness / step) ** 2, labels, distance)
        pixels = np.bincount(labels.ravel(), minlength=len(centres))
        sums = [np.bincount(labels.ravel(), values[..., k].ravel(), len(centres)) for k in range(5)]
        means = np.stack(sums, axis=1) / np.maximum(pixels, 1)[:, None]
        centres = np.where(pixels[:, None] > 0, means, centres)
    return _join_small(labels, step * step / 4)


@njit(cache=True, nogil=True)
def _assign(values, centres, step, weight, labels, distance):  # type: ignore[no-untyped-def]
    """Give every pixel the nearest centre; ``values`` and ``centres`` hold row, column, L, a, b."""
    height, width = labels.shape
    distance[:] = np.inf
    for k in range(centres.shape[0]):
        c = centres[k]
        top, bottom = max(0, int(c[0] - 2 * step)), min(height, int(c[0] + 2 * step) + 1)
        left, right = max(0, int(c[1] - 2 * step)), min(width, int(c[1] + 2 * step) + 1)
        for y in range(top, bottom):
            for x in range(left, right):
                v = values[y, x]
                d = weight * ((v[0] - c[0]) ** 2 + (v[1] - c[1]) ** 2)
                d += (v[2] - c[2]) ** 2 + (v[3] - c[3]) ** 2 + (v[4] - c[4]) ** 2
                if d < distance[y, x]:
                    distance[y, x] = d
                    labels[y, x] = k


def _neighbours(labels: IntArray) -> tuple[IntArray, IntArray]:
    """Return the labels left and right of, then above and below, every line between two pixels."""
    first = np.concatenate([labels[:, :-1].ravel(), labels[:-1].ravel()])
    return first, np.concatenate([labels[:, 1:].ravel(), labels[1:].ravel()])


def _join_small(labels: IntArray, smallest: float) -> IntArray:
    """Split labels into connected parts; parts of fewer than ``smallest`` pixels join a neighbour."""
    pixel = np.arange(labels.size).reshape(labels.shape)
    a, b = _neighbours(labels)
    i, j = _neighbours(pixel)
    same = a == b
    links = coo_matrix((np.ones(int(same.sum()), np.int8), (i[same], j[same])), shape=(labels.size,) * 2)
    number, flat = connected_components(links, directed=False)
    parts = flat.reshape(labels.shape)
    a, b = _neighbours(parts)
    a, b = a[a != b], b[a != b]
    ones = np.ones(2 * len(a))
    contact = coo_matrix((ones, (np.r_[a, b], np.r_[b, a])), shape=(number, number)).tocsr()
    size = np.bincount(flat, minlength=number)
    target = np.arange(number)
    for part in np.flatnonzero(size < smallest):
        row = slice(contact.indptr[part], contact.indptr[part + 1])
        others = contact.indices[row]
        larger = size[others] > size[part]  # never in a circle
        if larger.any():
            target[part] = others[larger][np.argmax(contact.data[row][larger])]
    while not np.array_equal(target, target[target]):
        target = target[target]
    return np.asarray(np.unique(target[parts], return_inverse=True)[1].reshape(labels.shape), np.int64)


def edge_strength(lab: Float32Array) -> Float32Array:
    """Return the (h, w) gradient of an (h, w, 3) Lab image, the larger of two scales (1 and 2 px)."""
    strength = np.zeros(lab.shape[:2], np.float32)
    for sigma in (1.0, 2.0):
        smooth = cv2.GaussianBlur(lab, (0, 0), sigma)
        dx, dy = cv2.Sobel(smooth, cv2.CV_32F, 1, 0) / 8, cv2.Sobel(smooth, cv2.CV_32F, 0, 1) / 8
        strength = np.maximum(strength, sigma * np.sqrt((dx**2 + dy**2).sum(axis=2)))
    return strength


def _touching(labels: IntArray, strength: Float32Array) -> tuple[IntArray, FloatArray, FloatArray]:
    """Return the pairs (E, 2) of touching labels, their common length in pixels and mean edge strength."""
    a, b = _neighbours(labels)
    between = np.concatenate(
        [
            np.maximum(strength[:, :-1], strength[:, 1:]).ravel(),
            np.maximum(strength[:-1], strength[1:]).ravel(),
        ]
    )
    differ = a != b
    low, high = np.minimum(a, b)[differ], np.maximum(a, b)[differ]
    number = int(labels.max()) + 1
    keys, inverse, length = np.unique(low * number + high, return_inverse=True, return_counts=True)
    mean = np.bincount(inverse, between[differ].astype(np.float64)) / length
    return np.stack([keys // number, keys % number], axis=1), length.astype(np.float64), mean
