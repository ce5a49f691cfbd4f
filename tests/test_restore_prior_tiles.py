"""Large pictures by the prior in pieces: as good as at once, no border to be seen, weights carried over."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from walkaround.restore import prior_tiles  # noqa: E402
from walkaround.restore.operators import Convolution, Downsample, Identity, Mask, gaussian_kernel  # noqa: E402
from walkaround.restore.options import PriorOptions  # noqa: E402
from walkaround.restore.prior_tiles import solve_in_tiles  # noqa: E402
from walkaround.restore.solver import Solved, Step, solve_prior  # noqa: E402

QUICK = PriorOptions(iterations=60, average=0.9, patience=0, tile_px=48)


def scene(height: int, width: int) -> torch.Tensor:  # (1, 3, H, W)
    rows, columns = np.mgrid[:height, :width] / 48
    waves = [0.5 + 0.3 * np.sin(3 * rows + k) * np.cos(2 * columns - k) for k in range(3)]
    return torch.from_numpy(np.stack(waves)[None]).float()


def echo(measured: torch.Tensor, operator: object, size_hw: tuple[int, int], **_: object) -> Solved:
    """Stand in for the solver: what was measured, enlarged."""
    picture = torch.nn.functional.interpolate(measured, size_hw, mode="bilinear")
    return Solved(picture=picture, iterations=1, best_iteration=1, rollbacks=0, log=())


def test_pieces_make_up_the_whole_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prior_tiles, "solve_prior", echo)
    truth = torch.rand(1, 3, 150, 131, generator=torch.Generator().manual_seed(0))
    solved = solve_in_tiles(truth, Identity(), (150, 131), options=QUICK)
    torch.testing.assert_close(solved.picture, truth)
    assert solved.iterations == 4 * 3


@pytest.mark.parametrize("kind", ["mask", "blur", "small", "small after blur"])
def test_a_piece_was_measured_as_the_whole_was(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Away from its ends, the operator of a piece gives what the whole one gave."""
    truth = scene(192, 168)
    blur, small = Convolution(torch.from_numpy(gaussian_kernel(1.5))), Downsample(3)
    known = torch.rand(192, 168, generator=torch.Generator().manual_seed(1)) > 0.5
    operator = {"mask": Mask(known.float()), "blur": blur, "small": small, "small after blur": small @ blur}[
        kind
    ]
    measured, reach = operator(truth), -(-operator.reach_px // operator.factor)
    pieces = []

    def check(part: torch.Tensor, own: object, size_hw: tuple[int, int], **more: object) -> Solved:
        piece = next(places)
        seen = own(truth[..., *piece.outer])
        assert seen.shape == part.shape
        inside = (..., slice(reach, part.shape[-2] - reach), slice(reach, part.shape[-1] - reach))
        torch.testing.assert_close(seen[inside], part[inside], atol=1e-5, rtol=0)
        pieces.append(piece)
        return Solved(picture=truth[..., *piece.outer], iterations=1, best_iteration=1, rollbacks=0, log=())

    asked = prior_tiles.tiles
    found: list[object] = []
    monkeypatch.setattr(prior_tiles, "tiles", lambda *a, **k: found.extend(asked(*a, **k)) or found)
    places = (piece for piece in found)
    monkeypatch.setattr(prior_tiles, "solve_prior", check)
    solved = solve_in_tiles(measured, operator, (192, 168), options=QUICK)
    torch.testing.assert_close(solved.picture, truth)
    assert len(pieces) > 4


def test_no_border_is_seen() -> None:
    truth, options = scene(144, 48), dataclasses.replace(QUICK, iterations=30)
    noisy = truth + 0.1 * torch.randn(truth.shape, generator=torch.Generator().manual_seed(3))
    shares: list[float] = []

    def watch(step: Step) -> None:
        shares.append(step.share)
        assert step.picture().shape == truth.shape

    solved = solve_in_tiles(noisy, Identity(), (144, 48), options=options, watch=watch)
    error = solved.picture - truth
    assert float(error.square().mean()) < 0.5 * float((noisy - truth).square().mean())
    step = (error[..., 1:, :] - error[..., :-1, :]).abs().mean((0, 1, 3))
    assert float(step[[47, 95]].max()) < 1.6 * float(step[40:104].median())
    assert shares == sorted(shares) and shares[-1] == 1


def test_a_small_picture_is_drawn_at_once() -> None:
    truth = scene(50, 60)
    options = dataclasses.replace(QUICK, iterations=3, tile_px=64)
    whole = solve_prior(truth, Identity(), (50, 60), options=options).picture
    assert torch.equal(solve_in_tiles(truth, Identity(), (50, 60), options=options).picture, whole)


def test_weights_are_carried_over() -> None:
    truth, options = scene(96, 96), dataclasses.replace(QUICK, iterations=30)
    first = solve_prior(truth, Identity(), (96, 96), options=options)
    short = dataclasses.replace(options, iterations=2)
    again = solve_prior(truth, Identity(), (96, 96), options=short, weights=first.weights)
    anew = solve_prior(truth, Identity(), (96, 96), options=short, weights={"other": torch.zeros(1)})
    assert float((again.picture - truth).square().mean()) < 0.5 * float(
        (anew.picture - truth).square().mean()
    )
