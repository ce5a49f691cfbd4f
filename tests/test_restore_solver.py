"""The deep image prior's solver: it denoises, stops, averages, takes back jumps, repeats with a seed."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from walkaround.restore.operators import Convolution, Identity, Mask, gaussian_kernel  # noqa: E402
from walkaround.restore.options import PriorOptions  # noqa: E402
from walkaround.restore.solver import Step, solve_prior  # noqa: E402
from walkaround.restore.stopping import NoiseLevel, Rollback, WindowedVariance  # noqa: E402

QUICK = PriorOptions(generator="swift", iterations=10, average=0.9, window=10, patience=0)


def psnr(picture: torch.Tensor, truth: torch.Tensor) -> float:
    return -10 * math.log10(float((picture.clamp(0, 1) - truth).double().square().mean()))


def scene(size: int = 64) -> torch.Tensor:  # (1, 3, size, size)
    rows, columns = np.mgrid[:size, :size] / size
    picture = np.stack([0.5 + 0.3 * np.sin(5 * columns), rows, 1 - columns])
    picture[:, 20:40, 16:44] = np.array([0.8, 0.2, 0.3])[:, None, None]
    return torch.from_numpy(picture[None]).float()


def noisy(picture: torch.Tensor, sigma: float = 0.15) -> torch.Tensor:
    return picture + sigma * torch.randn(picture.shape, generator=torch.Generator().manual_seed(3))


def test_it_denoises_and_logs() -> None:
    truth = scene()
    measured = noisy(truth)
    options = dataclasses.replace(QUICK, iterations=100)
    steps: list[Step] = []
    solved = solve_prior(measured, Identity(), (64, 64), options=options, truth=truth, watch=steps.append)
    assert psnr(solved.picture, truth) > psnr(measured, truth) + 6
    assert solved.log[-1].psnr == pytest.approx(psnr(solved.picture, truth), abs=0.01)
    assert solved.log[-1].loss < solved.log[0].loss
    assert steps[-1].share == 1 and steps[-1].picture().shape == truth.shape


def test_a_seed_repeats_and_restarts_are_averaged() -> None:
    measured = noisy(scene())
    first, same, other = (
        solve_prior(measured, Identity(), (64, 64), options=QUICK, seed=seed).picture for seed in (0, 0, 1)
    )
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    two = solve_prior(measured, Identity(), (64, 64), options=dataclasses.replace(QUICK, restarts=2), seed=0)
    torch.testing.assert_close(two.picture, (first + other) / 2)
    assert two.iterations == 20


def test_missing_pixels_are_drawn() -> None:
    truth = scene()
    known = (torch.rand(64, 64, generator=torch.Generator().manual_seed(1)) > 0.5).float()
    options = dataclasses.replace(QUICK, iterations=100)
    solved = solve_prior(truth * known, Mask(known), (64, 64), options=options, task="inpaint")
    hidden = (known == 0).expand_as(truth)
    assert float((solved.picture - truth)[hidden].square().mean()) < 0.006


def test_it_begins_at_an_estimate() -> None:
    truth = scene()
    options = dataclasses.replace(QUICK, iterations=1)
    solved = solve_prior(truth, Identity(), (64, 64), options=options, start=truth)
    plain = solve_prior(truth, Identity(), (64, 64), options=options)
    assert psnr(solved.picture, truth) > psnr(plain.picture, truth)


def test_an_unknown_blur_is_learned_with_the_picture() -> None:
    from walkaround.restore.operators import UnknownConvolution

    measured = Convolution(torch.from_numpy(gaussian_kernel(1.5)))(scene())
    operator = UnknownConvolution(9)
    before = operator.kernel.detach().clone()
    solve_prior(measured, operator, (64, 64), options=QUICK)
    assert not torch.equal(operator.kernel.detach(), before)


def test_stopping_finds_where_outputs_rest() -> None:
    """Outputs approach a value until 60 and wander away after it."""
    rule = WindowedVariance(window=10, patience=30)
    source = torch.Generator().manual_seed(0)
    best = stopped = 0
    for iteration in range(1, 300):
        away = 0.9**iteration if iteration < 60 else 0.001 * (iteration - 60) ** 1.5
        if rule.update(torch.full((1000,), away) + 1e-3 * torch.rand(1000, generator=source)):
            best = iteration
        if rule.stop:
            stopped = iteration
            break
    assert 50 <= best <= 75 and stopped == best + 30


def test_windowed_variance_is_the_plain_one() -> None:
    source = torch.Generator().manual_seed(0)
    outputs = [torch.rand(50, generator=source, dtype=torch.float64) for _ in range(12)]
    rule = WindowedVariance(window=5, patience=0)
    wanted = min(
        float((window - window.mean(0)).square().mean())
        for window in (torch.stack(outputs[i : i + 5]) for i in range(8))
    )
    for output in outputs:
        rule.update(output)
    assert rule.best_variance == pytest.approx(wanted)
    assert not rule.stop


def test_a_rest_above_the_noise_is_not_looked_at() -> None:
    level, rule = NoiseLevel(0.01), WindowedVariance(window=5, patience=10)
    still = torch.zeros(100)
    for _ in range(50):
        assert not rule.update(still, look=level.update(0.05))
    assert not rule.stop
    found = [rule.update(still, look=level.update(0.0105)) for _ in range(100)]
    assert any(found) and not any(found[:20])
    assert NoiseLevel(None).update(1.0) and not NoiseLevel(0.0).update(0.0)


def test_without_noise_it_goes_on_to_the_end() -> None:
    options = dataclasses.replace(QUICK, iterations=30, window=3, patience=2)
    told = {
        noise: solve_prior(scene(), Identity(), (64, 64), options=options, noise=noise)
        for noise in (0.0, None)
    }
    assert told[0.0].iterations == told[0.0].best_iteration == 30
    assert told[None].iterations < 30


def test_the_average_is_taken_when_it_is_as_old_as_the_window(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = iter(range(1, 100))
    monkeypatch.setattr(WindowedVariance, "update", lambda *_, **__: next(calls) == 5)
    options = dataclasses.replace(QUICK, iterations=15, window=4, patience=20)
    solved = solve_prior(scene(), Identity(), (64, 64), options=options)
    assert solved.best_iteration == 5 + 10 - 2  # the average is of 10 outputs, the window of 4


def test_a_jump_is_taken_back() -> None:
    network = torch.nn.Linear(2, 1)
    guard = Rollback(network, every=1)
    assert not guard.check(1.0)
    good = network.weight.detach().clone()
    assert not guard.check(1.1)
    with torch.no_grad():
        network.weight += 5
    assert guard.check(20.0)
    assert torch.equal(network.weight, good) and guard.count == 1
    assert not guard.check(1.0)
    assert guard.check(float("nan"))


def test_a_loss_that_stays_high_is_followed_in_the_end() -> None:
    guard = Rollback(torch.nn.Linear(2, 1))
    guard.check(1.0)
    taken_back = [guard.check(10.0) for _ in range(8)]
    assert taken_back[0] and not taken_back[-1]
