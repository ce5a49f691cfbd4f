"""The blur that a spectrum tells of."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from walkaround.restore.operators import Convolution, gaussian_kernel, motion_kernel  # noqa: E402
from walkaround.restore.spectrum import FALL, estimate_blur, gaussian_of  # noqa: E402
from walkaround.restore.tensors import to_array, to_tensor  # noqa: E402


def cloudy(side: int = 144) -> np.ndarray:
    """Return (H, W, 3) whose power falls as that of photos does."""
    source = np.random.default_rng(0)
    f = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.fftfreq(side)[None, :])
    f[0, 0] = 1
    spectrum = np.fft.fft2(source.standard_normal((side, side))) * f ** (-FALL / 2)
    grey = np.real(np.fft.ifft2(spectrum))
    grey = 0.5 + 0.15 * (grey - grey.mean()) / grey.std()
    return np.repeat(grey[..., None], 3, 2).astype(np.float32)


def blurred(kernel: np.ndarray) -> np.ndarray:
    image = to_array(Convolution(torch.from_numpy(kernel))(to_tensor(cloudy())))
    return image + 0.005 * np.random.default_rng(1).standard_normal(image.shape).astype(np.float32)


@pytest.mark.parametrize("sigma", [0.8, 1.6, 2.4])
def test_a_gaussian_is_found(sigma: float) -> None:
    deviations = np.sqrt(np.linalg.eigvalsh(estimate_blur(blurred(gaussian_kernel(sigma)))))
    np.testing.assert_allclose(deviations, sigma, rtol=0.2)


def test_a_sharp_picture_has_little_blur() -> None:
    assert np.sqrt(np.linalg.eigvalsh(estimate_blur(blurred(gaussian_kernel(0.1))))).max() < 0.5


@pytest.mark.parametrize("angle", [0, 30, 90, 150])
def test_a_motion_has_a_direction(angle: float) -> None:
    values, vectors = np.linalg.eigh(estimate_blur(blurred(motion_kernel(9, angle))))
    seen = np.rad2deg(np.arctan2(-vectors[0, 1], vectors[1, 1]))
    assert abs((seen - angle + 90) % 180 - 90) < 12
    assert values[1] > 4 * values[0]


def test_the_kernel_has_the_covariance() -> None:
    covariance = np.array([[3.0, 0.8], [0.8, 1.5]])
    kernel, offset = gaussian_of(covariance, 21), np.arange(21) - 10
    places = np.stack(np.meshgrid(offset, offset, indexing="ij"), -1).astype(float)
    seen = np.einsum("ij,ijk,ijl->kl", kernel, places, places)
    np.testing.assert_allclose(seen, covariance, atol=0.05)
    assert kernel.sum() == pytest.approx(1, abs=1e-5)


def test_an_unknown_kernel_begins_with_what_the_spectrum_says() -> None:
    from walkaround.restore.deblur import estimate_kernel
    from walkaround.restore.options import PriorOptions

    true = np.pad(gaussian_kernel(1.6), 1)
    image = blurred(gaussian_kernel(1.6))[:100, :100]
    found = estimate_kernel(image, 13, 0.005, options=PriorOptions(iterations=2))
    assert np.linalg.norm(found - true) < 0.35 * np.linalg.norm(true)
