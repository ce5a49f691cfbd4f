"""Metrics of HDR frames against published values and behaviour, and plain twins."""

from __future__ import annotations

import sys
from types import ModuleType

import numpy as np
import pytest

from walkaround.errors import UsageError
from walkaround.hdr.metrics.curves import mu_law, pu21
from walkaround.hdr.metrics.fidelity import MOST_DB, psnr, ssim
from walkaround.hdr.metrics.flicker import flicker
from walkaround.hdr.metrics.hdrvqm import hdr_vqm, quality_of
from walkaround.hdr.metrics.visible import color_video_vdp, fov_video_vdp
from walkaround.hdr.synthesis.leaves import draw_leaves


def video(num_frames: int = 4, step: int = 2) -> list[np.ndarray]:
    picture = np.clip(draw_leaves((160, 96), np.random.default_rng(0), num_shapes=150) / 3.0, 0, 1)
    return [np.roll(picture, step * n, axis=1) for n in range(num_frames)]


def noisy(frames: list[np.ndarray], size: float, seed: int = 1) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [np.clip(f + size * f * rng.standard_normal(f.shape), 0, 1).astype(np.float32) for f in frames]


def test_mu_law() -> None:
    assert mu_law(np.array([0.0, 1.0, 2.0])).tolist() == [0.0, 1.0, 1.0]
    assert mu_law(np.array([0.01])) == pytest.approx(np.log(51) / np.log(5001))


def test_pu21_has_the_values_of_its_paper() -> None:
    """0 at 0.005 cd/m2, 256 at 100 (a white of SDR), 595.39 at 10,000; it rises everywhere."""
    codes = pu21(np.array([0.005, 100.0, 10000.0]))
    assert codes[0] == pytest.approx(0.0, abs=1e-3)
    assert codes[1] == pytest.approx(256, abs=1.0)
    assert codes[2] == pytest.approx(595.39, abs=0.01)
    assert (np.diff(pu21(np.geomspace(0.005, 10000, 500))) > 0).all()
    assert pu21(np.array([0.0, 1e6])).tolist() == [codes[0], codes[2]]


def test_psnr() -> None:
    truth = np.full((20, 20, 3), 0.5)
    assert psnr(truth + 0.1, truth, 1.0) == pytest.approx(20.0)
    assert psnr(truth + 10, truth, 100.0) == pytest.approx(20.0)
    assert psnr(truth, truth, 1.0) == MOST_DB
    with pytest.raises(UsageError, match="cannot be compared"):
        psnr(truth, truth[1:], 1.0)


def test_ssim_is_that_of_a_plain_sum() -> None:
    rng = np.random.default_rng(0)
    truth = rng.uniform(0, 1, (13, 14, 1))
    result = np.clip(truth + 0.2 * rng.standard_normal(truth.shape), 0, 1)
    offsets = np.arange(-5, 6)
    kernel = np.exp(-(offsets**2) / (2 * 1.5**2))
    kernel = np.outer(kernel, kernel) / kernel.sum() ** 2
    scores = []
    for row in range(5, 8):
        for column in range(5, 9):
            x, y = (image[row - 5 : row + 6, column - 5 : column + 6, 0] for image in (result, truth))
            mx, my = (kernel * x).sum(), (kernel * y).sum()
            vx, vy = (kernel * (x - mx) ** 2).sum(), (kernel * (y - my) ** 2).sum()
            both = (kernel * (x - mx) * (y - my)).sum()
            scores.append(
                (2 * mx * my + 1e-4) * (2 * both + 9e-4) / ((mx**2 + my**2 + 1e-4) * (vx + vy + 9e-4))
            )
    assert ssim(result[..., 0], truth[..., 0], 1.0) == pytest.approx(np.mean(scores), abs=1e-9)
    assert ssim(truth[..., 0], truth[..., 0], 1.0) == pytest.approx(1.0)
    with pytest.raises(UsageError, match="more than 10 pixels"):
        ssim(truth[:9], truth[:9], 1.0)


def test_hdr_vqm_behaves_as_published() -> None:
    """1 for the truth; falls with the strength of a distortion; a constant error everywhere, which the eye
    adapts to, spreads over no tube and counts less than one in places (sections 3.3 and 3.4 of the paper)."""
    truth = video(2)
    assert hdr_vqm(truth, truth, frame_rate=25) == pytest.approx(1.0)
    qualities = [hdr_vqm(noisy(truth, size), truth, frame_rate=25) for size in (0.01, 0.04, 0.15)]
    assert 1.0 > qualities[0] > qualities[1] > qualities[2] > 0.0
    dimmed = [(0.97 * frame).astype(np.float32) for frame in truth]
    assert hdr_vqm(dimmed, truth, frame_rate=25) > qualities[1]


def test_hdr_vqm_maps_errors_and_cuts_time() -> None:
    assert quality_of(0.0) == 1.0 and quality_of(np.log(3.0)) == pytest.approx(0.0)
    truth = video(3)
    late = [*truth[:2], *noisy(truth[2:], 0.2)]
    whole = hdr_vqm(late, truth, frame_rate=25)
    first = hdr_vqm(late, truth, frame_rate=3)  # a fixation of 2 frames: the third alone is no whole one
    assert first == pytest.approx(1.0) and whole < 0.999
    with pytest.raises(UsageError, match="one length"):
        hdr_vqm(truth, truth[1:], frame_rate=25)


def test_flicker_sees_change_and_not_error() -> None:
    truth = video(5)
    wrong = [np.clip(frame * 1.1, 0, 1).astype(np.float32) for frame in truth]
    alternating = [frame if n % 2 else wrong[n] for n, frame in enumerate(truth)]
    assert flicker(truth, truth) == 0.0
    assert flicker(alternating, truth) > 5 * flicker(wrong, truth)
    with pytest.raises(UsageError, match="at least 2 frames"):
        flicker(truth[:1], truth[:1])


def test_visible_differences_are_run_or_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the package the answer says so; with it, it gets light in cd/m2."""
    truth = video(2)
    monkeypatch.setitem(sys.modules, "pycvvdp", None)
    monkeypatch.setitem(sys.modules, "pyfvvdp", None)
    for measure in (color_video_vdp, fov_video_vdp):
        assert str(measure(truth, truth, frame_rate=24.0, peak_nits=1000.0)).startswith("not run (")
    seen = []

    class Metric:
        def __init__(self, **options: object) -> None:
            assert options["display_name"] == "standard_hdr_linear"

        def predict(self, result: np.ndarray, truth: np.ndarray, **options: object) -> tuple[float, None]:
            seen.append((result.max(), options["dim_order"], options["frames_per_second"]))
            return 9.5, None

    fake = ModuleType("pycvvdp")
    fake.cvvdp = Metric  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pycvvdp", fake)
    assert color_video_vdp(truth, truth, frame_rate=24.0, peak_nits=1000.0) == 9.5
    assert seen == [(pytest.approx(1000 * max(f.max() for f in truth)), "FHWC", 24.0)]
