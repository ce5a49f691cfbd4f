"""What was done to a picture: operators ``y = A(x)`` on (N, C, H, W) tensors of 0..1.

A linear operator has an exact adjoint, ``<A x, y> = <x, A^T y>``. Operators compose: ``A @ B`` is A after B.
Nothing here knows about networks; any operator can be the forward model of :mod:`walkaround.restore.solver`.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor
from torch.nn import Parameter
from torch.nn import functional as F

from walkaround.errors import UsageError
from walkaround.restore.options import FACTORS
from walkaround.types import Float32Array, FloatArray


class Operator:
    """A differentiable map of pictures."""

    linear = True

    def apply(self, x: Tensor) -> Tensor:  # (N, C, H, W) -> (N, C, h, w)
        raise NotImplementedError

    def __call__(self, x: Tensor) -> Tensor:
        return self.apply(x)

    def __matmul__(self, other: Operator) -> Operator:
        return Composition(self, other)

    def parameters(self) -> Iterable[Parameter]:
        """Return what is estimated together with the picture; nothing for a known operator."""
        return ()

    def part(self, rows: slice, columns: slice) -> Operator:
        """Return the operator of a piece of the picture; it is wrong within :attr:`reach_px` of its ends."""
        return self

    @property
    def factor(self) -> int:
        """How many times smaller than the picture what was measured is."""
        return 1

    @property
    def reach_px(self) -> int:
        """How far from it a pixel of the picture is seen in what was measured."""
        return 0

    def adjoint(self, y: Tensor, size_hw: tuple[int, int]) -> Tensor:
        """Return ``A^T y`` for pictures ``x`` of ``size_hw``: the transposed derivative, exact.

        Raises
        ------
        UsageError
            The operator is not linear.
        """
        if not self.linear:
            raise UsageError(f"{type(self).__name__} is not linear: it has no adjoint. Use autograd instead.")
        with torch.enable_grad():
            x = torch.zeros(*y.shape[:2], *size_hw, dtype=y.dtype, device=y.device, requires_grad=True)
            (back,) = torch.autograd.grad(self.apply(x), x, y)
        return back


class Composition(Operator):
    """``outer`` after ``inner``."""

    def __init__(self, outer: Operator, inner: Operator) -> None:
        self.outer, self.inner = outer, inner
        self.linear = outer.linear and inner.linear

    def apply(self, x: Tensor) -> Tensor:
        return self.outer(self.inner(x))

    def part(self, rows: slice, columns: slice) -> Operator:
        shrunk = [
            slice(s.start // self.inner.factor, -(-s.stop // self.inner.factor)) for s in (rows, columns)
        ]
        return Composition(self.outer.part(*shrunk), self.inner.part(rows, columns))

    @property
    def factor(self) -> int:
        return self.outer.factor * self.inner.factor

    @property
    def reach_px(self) -> int:
        return self.inner.reach_px + self.inner.factor * self.outer.reach_px

    def parameters(self) -> Iterable[Parameter]:
        return (*self.inner.parameters(), *self.outer.parameters())


class Identity(Operator):
    """Nothing but noise was added."""

    def apply(self, x: Tensor) -> Tensor:
        return x


class Mask(Operator):
    """Pixels are missing: ``y = m x``.

    Parameters
    ----------
    known
        (H, W) or (1, 1, H, W): 1 where a pixel is known, 0 where it is missing.
    """

    def __init__(self, known: Tensor) -> None:
        self.known = known.reshape(1, 1, *known.shape[-2:])

    def apply(self, x: Tensor) -> Tensor:
        return x * self.known.to(x)

    def part(self, rows: slice, columns: slice) -> Operator:
        return Mask(self.known[..., rows, columns])


def lanczos_matrix(size: int, factor: int, *, lobes: int = 3) -> FloatArray:  # (ceil(size / factor), size)
    """Return the matrix that shrinks ``size`` samples by ``factor`` with a Lanczos window.

    The window is widened by the factor (no aliasing), cut off at the border and normalised, and centred on
    the coarse sample's area: pixel centres at +0.5, as in PIL and MATLAB's ``imresize``.
    Source: Duchon, 1979, doi:10.1175/1520-0450(1979)018<1016:LFIOAT>2.0.CO;2.
    """
    centres = (np.arange(-(-size // factor)) + 0.5) * factor - 0.5
    distance = (np.arange(size)[None, :] - centres[:, None]) / factor
    weights = np.where(np.abs(distance) < lobes, np.sinc(distance) * np.sinc(distance / lobes), 0.0)
    return np.asarray(weights / weights.sum(1, keepdims=True))


class Downsample(Operator):
    """Lanczos down-sampling by a whole factor; sizes that it does not divide are rounded up."""

    def __init__(self, factor: int, *, lobes: int = 3) -> None:
        if factor < 1:
            raise UsageError(f"A down-sampling factor of {factor} is not possible. Use one of {FACTORS}.")
        self._factor, self.lobes = factor, lobes
        self._matrices: dict[tuple[int, torch.dtype, torch.device], Tensor] = {}

    def apply(self, x: Tensor) -> Tensor:
        return self._matrix(x.shape[-2], x) @ x @ self._matrix(x.shape[-1], x).T

    @property
    def factor(self) -> int:
        return self._factor

    @property
    def reach_px(self) -> int:
        return self.lobes * self.factor

    def _matrix(self, size: int, like: Tensor) -> Tensor:
        key = (size, like.dtype, like.device)
        if key not in self._matrices:
            self._matrices[key] = torch.from_numpy(lanczos_matrix(size, self.factor, lobes=self.lobes)).to(
                like
            )
        return self._matrices[key]


class Convolution(Operator):
    """Blur by a known kernel; the picture goes on beyond its border as in a mirror.

    Parameters
    ----------
    kernel
        (k, k), odd side; it is normalised to sum 1. Convolution, not correlation: the kernel is what a
        point of light becomes.

    Raises
    ------
    UsageError
        The side is even, or the sum is not positive.
    """

    def __init__(self, kernel: Tensor) -> None:
        if kernel.ndim != 2 or not (kernel.shape[0] % 2 and kernel.shape[1] % 2):
            raise UsageError(
                f"A kernel needs odd sides, this one is {tuple(kernel.shape)}. Pad it with zeros."
            )
        if not float(kernel.sum()) > 0:
            raise UsageError(f"A kernel needs a positive sum, this one has {float(kernel.sum()):g}.")
        self._kernel = kernel / kernel.sum()

    @property
    def kernel(self) -> Tensor:  # (k, k)
        return self._kernel

    @property
    def reach_px(self) -> int:
        return max(self.kernel.shape) // 2

    def apply(self, x: Tensor) -> Tensor:
        return convolve(x, self.kernel.to(x))


def convolve(x: Tensor, kernel: Tensor) -> Tensor:
    """Convolve each channel of (N, C, H, W) with (k, k) through the spectrum: a large k is no dearer."""
    rows, columns = kernel.shape[0] // 2, kernel.shape[1] // 2
    height, width = x.shape[-2:]
    if rows >= height or columns >= width:
        raise UsageError(
            f"A kernel of {tuple(kernel.shape)} is too large for a picture of {height} x {width}."
        )
    padded = F.pad(x, (columns, columns, rows, rows), mode="reflect")
    size = padded.shape[-2:]
    spectrum = torch.fft.rfft2(padded) * torch.fft.rfft2(kernel, s=size)
    full = torch.fft.irfft2(spectrum, s=size)
    return full[..., 2 * rows : 2 * rows + height, 2 * columns : 2 * columns + width]


class UnknownConvolution(Convolution):
    """Blur by a kernel that is estimated with the picture: positive, sum 1, a small Gaussian at first.

    Source: SelfDeblur, Ren et al., CVPR 2020, arXiv:1908.02197 (its kernel network is a soft-max here).

    Parameters
    ----------
    start
        (size, size) to begin with instead.
    """

    def __init__(self, size: int, *, start_sigma_px: float = 1.0, start: Tensor | None = None) -> None:
        if size < 3 or size % 2 == 0:
            raise UsageError(f"A kernel of side {size} cannot be estimated. Use an odd side of at least 3.")
        offset = torch.arange(size, dtype=torch.float32) - size // 2
        squared = offset[:, None] ** 2 + offset[None, :] ** 2
        logits = -(squared / (2 * start_sigma_px**2))
        if start is not None:
            logits = torch.log(start / start.max() + 1e-9)
        self.logits = Parameter(logits.clamp(min=-8.0))

    @property
    def kernel(self) -> Tensor:
        return torch.softmax(self.logits.flatten(), 0).reshape(self.logits.shape)

    def parameters(self) -> Iterable[Parameter]:
        return (self.logits,)


def gaussian_kernel(sigma_px: float) -> Float32Array:  # (k, k)
    """Return a Gaussian of three sigmas to each side, sum 1."""
    radius = max(1, int(np.ceil(3 * sigma_px)))
    line = np.exp(-0.5 * (np.arange(-radius, radius + 1) / max(sigma_px, 1e-6)) ** 2)
    kernel = np.outer(line, line)
    return np.asarray(kernel / kernel.sum(), np.float32)


def motion_kernel(length_px: float, angle_deg: float) -> Float32Array:  # (k, k)
    """Return the trace of a point that moves ``length_px`` straight, counter-clockwise from the right."""
    radius = max(1, int(np.ceil(length_px / 2)))
    kernel = np.zeros((2 * radius + 1, 2 * radius + 1))
    angle = np.deg2rad(angle_deg)
    for along in np.linspace(-length_px / 2, length_px / 2, 16 * radius + 1):
        column, row = radius + along * np.cos(angle), radius - along * np.sin(angle)
        for r in (int(np.floor(row)), int(np.floor(row)) + 1):
            for c in (int(np.floor(column)), int(np.floor(column)) + 1):
                if 0 <= r <= 2 * radius and 0 <= c <= 2 * radius:
                    kernel[r, c] += max(0.0, 1 - abs(row - r)) * max(0.0, 1 - abs(column - c))
    return np.asarray(kernel / kernel.sum(), np.float32)
