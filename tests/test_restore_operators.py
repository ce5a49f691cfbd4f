"""Operators of restoration: adjoints, plain twins, and real encoders."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from walkaround.errors import InputError, UsageError  # noqa: E402
from walkaround.restore.jpeg import Jpeg, read_tables, tables_of_quality  # noqa: E402
from walkaround.restore.operators import (  # noqa: E402
    Convolution,
    Downsample,
    Identity,
    Mask,
    Operator,
    UnknownConvolution,
    gaussian_kernel,
    motion_kernel,
)

SIZE = (37, 46)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def mask() -> Mask:
    return Mask((random(*SIZE, seed=5) > 0.5).double())


def blur() -> Convolution:
    return Convolution(torch.from_numpy(motion_kernel(9, 30)))


LINEAR = {
    "identity": Identity,
    "mask": mask,
    **{f"downsample {f}": (lambda f=f: Downsample(f)) for f in (2, 3, 4, 8)},
    "two lobes": lambda: Downsample(4, lobes=2),
    "convolution": blur,
    "unknown kernel": lambda: UnknownConvolution(7),
    "mask after blur": lambda: mask() @ blur(),
    "downsample after blur after mask": lambda: Downsample(3) @ blur() @ mask(),
}


@pytest.mark.parametrize("name", LINEAR)
def test_adjoint_and_linearity(name: str) -> None:
    operator: Operator = LINEAR[name]()
    x, other = random(2, 3, *SIZE), random(2, 3, *SIZE, seed=1)
    y = operator(x).detach()
    z = random(*y.shape, seed=2)
    back = operator.adjoint(z, SIZE)
    assert back.shape == x.shape
    assert float((y * z).sum()) == pytest.approx(float((x * back).sum()), rel=1e-10)
    torch.testing.assert_close(operator(2 * x - other), 2 * operator(x) - operator(other))


def test_nonlinear_operators_have_no_adjoint() -> None:
    operator = Identity() @ Jpeg(tables_of_quality(50))
    assert not operator.linear
    with pytest.raises(UsageError, match="not linear"):
        operator.adjoint(random(1, 3, 16, 16), (16, 16))


@pytest.mark.parametrize("factor", [2, 3, 4, 8])
def test_downsampling_is_pillows(factor: int) -> None:
    """Pillow computes in single precision with a table of its own."""
    image = pytest.importorskip("PIL.Image")
    x = random(7 * factor, 5 * factor).float()
    small = image.fromarray(x.numpy()).resize((5, 7), image.Resampling.LANCZOS)
    np.testing.assert_allclose(Downsample(factor)(x[None, None])[0, 0], np.asarray(small), atol=2e-6)


def test_downsampling_keeps_constants_and_rounds_sizes_up() -> None:
    y = Downsample(4)(torch.full((1, 1, 37, 46), 0.3))
    assert y.shape == (1, 1, 10, 12)
    torch.testing.assert_close(y, torch.full_like(y, 0.3))


def test_convolution_is_the_plain_sum() -> None:
    kernel = random(5, 3)
    x = random(1, 1, 12, 11)
    padded = np.pad(x[0, 0].numpy(), ((2, 2), (1, 1)), mode="reflect")
    wanted = np.zeros((12, 11))
    flipped = (kernel / kernel.sum()).numpy()[::-1, ::-1]
    for r in range(12):
        for c in range(11):
            wanted[r, c] = (padded[r : r + 5, c : c + 3] * flipped).sum()
    np.testing.assert_allclose(Convolution(kernel)(x)[0, 0], wanted, atol=1e-12)


def test_kernels() -> None:
    assert gaussian_kernel(1.6).sum() == pytest.approx(1, abs=1e-6)
    level, upright = motion_kernel(9, 0), motion_kernel(9, 90)
    np.testing.assert_allclose(level.T, upright, atol=1e-7)
    assert level[level.shape[0] // 2].sum() == pytest.approx(1, abs=1e-6)
    rising = motion_kernel(9, 45)
    assert rising[1, -2] > 0 and rising[1, 1] == 0


def test_an_unknown_kernel_learns_what_blurred() -> None:
    x = random(1, 1, 48, 48)
    truth = torch.zeros(7, 7, dtype=torch.float64)
    truth[2, 1:6] = torch.tensor([0.1, 0.2, 0.4, 0.2, 0.1])
    y = Convolution(truth)(x)
    operator = UnknownConvolution(7)
    optimiser = torch.optim.Adam(list(operator.parameters()), lr=0.2)
    for _ in range(400):
        optimiser.zero_grad()
        ((operator(x) - y) ** 2).mean().backward()
        optimiser.step()
    assert float((operator.kernel.detach() - truth).abs().max()) < 0.03


@pytest.mark.parametrize(
    "wrong", [lambda: Convolution(torch.ones(4, 3)), lambda: Convolution(torch.zeros(3, 3)),
              lambda: UnknownConvolution(4), lambda: Downsample(0),
              lambda: Convolution(torch.ones(41, 41))(torch.ones(1, 1, 20, 20))]
)  # fmt: skip
def test_impossible_operators(wrong: object) -> None:
    with pytest.raises(UsageError):
        wrong()  # type: ignore[operator]


def smooth_picture(height: int = 75, width: int = 93) -> np.ndarray:
    """Return an 8-bit colour picture with edges, of a size that no block divides."""
    rows, columns = np.mgrid[:height, :width]
    picture = np.stack([128 + 90 * np.sin(columns / 9), 40 + 2 * rows, 200 - columns], -1)
    picture[20:50, 30:60] = (220, 40, 60)
    return np.clip(picture, 0, 255).astype(np.uint8)


def encode(picture: np.ndarray, *flags: int) -> bytes:
    return cv2.imencode(".jpg", picture[..., ::-1], list(flags))[1].tobytes()


@pytest.mark.parametrize("quality", [10, 30, 75, 95])
@pytest.mark.parametrize(
    "sampling", [cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
)
def test_jpeg_is_near_the_real_encoder(quality: int, sampling: int) -> None:
    """Much nearer to the decoded file than the original is: soft rounding differs, the rest does not."""
    picture = smooth_picture()
    data = encode(picture, cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling)
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), 1)[..., ::-1] / 255
    tables = read_tables(data, "x.jpg")
    known = tables_of_quality(quality, halved=sampling == cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420)
    np.testing.assert_array_equal(tables.luminance, known.luminance)
    np.testing.assert_array_equal(tables.chrominance, known.chrominance)
    assert (tables.halved, tables.halved_rows) == (known.halved, known.halved_rows)
    x = torch.from_numpy(picture / 255).permute(2, 0, 1)[None]
    simulated = Jpeg(tables)(x)[0].permute(1, 2, 0).numpy().clip(0, 1)
    error, loss = np.square(simulated - decoded).mean(), np.square(picture / 255 - decoded).mean()
    assert error < 0.25 * loss + 8e-6  # which the encoder loses to whole numbers


def test_jpeg_of_a_grey_picture_and_its_derivative() -> None:
    x = torch.rand(1, 1, 20, 33, requires_grad=True)
    y = Jpeg(tables_of_quality(30))(x)
    assert y.shape == x.shape
    y.square().sum().backward()
    assert x.grad is not None and float((x.grad == 0).double().mean()) < 0.01


def test_what_is_no_jpeg_is_refused() -> None:
    data = encode(smooth_picture())
    for broken in (b"", b"\x89PNG", data[:30]):
        with pytest.raises(InputError):
            read_tables(broken, "x.jpg")
