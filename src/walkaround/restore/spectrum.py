"""An unknown blur from the picture's spectrum: how much faster it falls than that of a sharp picture."""

from __future__ import annotations

import numpy as np
from scipy.optimize import least_squares

from walkaround.types import Float32Array, FloatArray

FALL = 2.5
"""Power falls with this power of the frequency in photos: near 2 (Field, 1987, doi:10.1364/JOSAA.4.002379),
a little more once lens, sensor and demosaicing have blurred them."""
_RINGS, _SECTORS = 24, 8
_STARTS_PX = (0.5, 1.5, 3.0)


def estimate_blur(image: Float32Array) -> FloatArray:  # (2, 2)
    """Return the covariance (rows, columns; px squared) of the Gaussian that blurred (H, W, C).

    Fits ``A |f|^-FALL exp(-4 pi^2 f^T S f) + N`` to the power of the spectrum, in rings and sectors: power,
    noise and S are free. An elongated Gaussian stands for a motion.
    """
    f, power, count = _bins(image)
    radius = np.linalg.norm(f, axis=1)
    floor = float(np.log(np.median(power[radius > 0.45])))
    first = float(np.log(power[0]) + FALL * np.log(radius[0]))

    def rest(values: FloatArray) -> FloatArray:
        root = _root(values[2:])
        fallen = np.exp(values[0] - FALL * np.log(radius) - 4 * np.pi**2 * np.square(f @ root).sum(1))
        return np.asarray(np.sqrt(count) * (np.log(fallen + np.exp(values[1])) - np.log(power)))

    def round_rest(values: FloatArray) -> FloatArray:
        return rest(np.array([values[0], values[1], values[2], 0.0, values[2]]))

    rounds = [least_squares(round_rest, [first, floor, sigma]) for sigma in _STARTS_PX]
    level, noise, sigma = min(rounds, key=lambda fit: fit.cost).x
    fit = least_squares(rest, [level, noise, sigma, 0.0, sigma])
    root = _root(fit.x[2:])
    return np.asarray(root @ root.T)


def _root(values: FloatArray) -> FloatArray:
    return np.array([[values[0], 0.0], [values[1], values[2]]])


def _bins(image: Float32Array) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return mean frequency (N, 2), mean power and number of values of rings and sectors."""
    size = image.shape[:2]
    window = np.outer(*(np.hanning(n + 2)[1:-1] for n in size))
    grey = image.mean(2)
    power = np.abs(np.fft.fft2((grey - grey.mean()) * window)) ** 2 / np.square(window).sum() + 1e-12
    rows, columns = np.meshgrid(*(np.fft.fftfreq(n) for n in size), indexing="ij")
    upper = (rows > 0) | ((rows == 0) & (columns > 0))
    f, power = np.stack([rows[upper], columns[upper]], 1), power[upper]
    radius = np.linalg.norm(f, axis=1)
    ring = np.floor((radius - 1.5 / min(size)) / (0.5 - 1.5 / min(size)) * _RINGS)
    sector = np.floor(np.arctan2(f[:, 0], f[:, 1]) / np.pi * (1 - 1e-9) * _SECTORS)  # of 0 to pi
    inside = (ring >= 0) & (ring < _RINGS)
    label = (ring * _SECTORS + sector).astype(int)[inside]
    count = np.bincount(label, minlength=_RINGS * _SECTORS).astype(float)
    used = count > 0

    def mean(values: FloatArray) -> FloatArray:
        return np.asarray(np.bincount(label, values[inside], _RINGS * _SECTORS)[used] / count[used])

    return np.stack([mean(f[:, 0]), mean(f[:, 1])], 1), mean(power), count[used]


def gaussian_of(covariance: FloatArray, side: int) -> Float32Array:  # (side, side)
    """Return a Gaussian kernel of this covariance (rows, columns), sum 1."""
    offset = np.arange(side) - side // 2
    places = np.stack(np.meshgrid(offset, offset, indexing="ij"), -1).astype(float)
    inverse = np.linalg.inv(covariance + 0.02 * np.eye(2))
    kernel = np.exp(-0.5 * np.einsum("ijk,kl,ijl->ij", places, inverse, places))
    return np.asarray(kernel / kernel.sum(), np.float32)
