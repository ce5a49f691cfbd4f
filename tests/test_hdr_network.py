"""The network: untrained it is the fusion; tiles make no seams; what is well exposed is kept."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from walkaround.errors import FormatError, InputError, UsageError  # noqa: E402
from walkaround.hdr.clip import Exposed  # noqa: E402
from walkaround.hdr.fusion import FusionOptions, make_fusion  # noqa: E402
from walkaround.hdr.methods import METHODS  # noqa: E402
from walkaround.hdr.metrics.curves import mu_law as mu_law_numpy  # noqa: E402
from walkaround.hdr.network.fine import AROUND, filter_around, keep_reference  # noqa: E402
from walkaround.hdr.network.fuse import RunOptions, cut_tiles, make_network  # noqa: E402
from walkaround.hdr.network.layers import DeformableAlignment, FrameAttention  # noqa: E402
from walkaround.hdr.network.model import HdrNetwork  # noqa: E402
from walkaround.hdr.network.options import NetworkOptions  # noqa: E402
from walkaround.hdr.network.tensors import inverse_mu_law, mu_law, warp  # noqa: E402
from walkaround.hdr.network.weights import SHIPPED, read_weights, write_weights  # noqa: E402
from walkaround.hdr.options import METHOD_NAMES  # noqa: E402
from walkaround.hdr.response import known_response  # noqa: E402
from walkaround.hdr.synthesis import ClipOptions, synthesise_clip  # noqa: E402
from walkaround.hdr.synthesis.leaves import draw_leaves  # noqa: E402
from walkaround.hdr.windows import window_around  # noqa: E402

SMALL = NetworkOptions(
    flow_channels=4, weight_channels=4, feature_channels=4, body_channels=4, detail_channels=4, num_blocks=1
)
GAMMA = known_response("gamma")


def window(period: int = 2, size: tuple[int, int] = (168, 104), at: int | None = None) -> tuple[Exposed, ...]:
    exposures = (1.0, 8.0) if period == 2 else (1.0, 4.0, 16.0)
    options = ClipOptions(size=size, num_frames=2 * period, exposures=exposures, num_layers=1)
    picture = draw_leaves((320, 240), np.random.default_rng(3), num_shapes=300)
    clip = synthesise_clip(picture, [picture], options, seed=1)
    return window_around(clip.frames, period - 1 if at is None else at, period)


@pytest.fixture
def untrained(tmp_path: Path) -> Path:
    """Weights of a small network as training begins."""
    torch.manual_seed(0)
    network = HdrNetwork(SMALL)
    path = tmp_path / "untrained.safetensors"
    write_weights(path, network.state_dict(), SMALL, {"iteration": "0"})
    return path


@pytest.fixture
def random_weights(tmp_path: Path) -> Path:
    """Weights of a small network none of whose layers is zero."""
    torch.manual_seed(1)
    network = HdrNetwork(SMALL)
    weights = {name: value + 0.05 * torch.randn_like(value) for name, value in network.state_dict().items()}
    path = tmp_path / "random.safetensors"
    write_weights(path, weights, SMALL, {})
    return path


@pytest.mark.parametrize("period", [2, 3])
def test_untrained_it_is_the_fusion(period: int, untrained: Path) -> None:
    """For every exposure of the reference, but where holding the result near the reference changes it."""
    fuse = make_network(GAMMA, run=RunOptions(weights=untrained, device="cpu"))
    for at in range(period):
        frames = window(period, at=at)
        mine, theirs = fuse(frames).radiance, make_fusion(GAMMA)(frames).radiance
        reference = frames[period - 1]
        top, low = reference.image.max(axis=2), reference.image.min(axis=2)
        free = (top > 0.96) | (low < 0.19)
        difference = np.abs(mu_law_numpy(mine) - mu_law_numpy(theirs)).max(axis=2)
        assert free.any() and np.quantile(difference[free], 0.99) < 2e-3
        assert np.quantile(difference, 0.5) < 2e-3


def test_tiles_cover_a_frame_once_and_leave_no_seam(random_weights: Path) -> None:
    seen = np.zeros((200, 500), int)
    for tile in cut_tiles(200, 500, (170, 90)):
        seen[tile.kept_rows, tile.kept_columns] += 1
        assert tile.rows.start <= tile.kept_rows.start and tile.columns.stop >= tile.kept_columns.stop
        assert tile.rows.start % 8 == 0 and tile.kept_columns.stop - tile.kept_columns.start <= 174
    assert (seen == 1).all()
    frames = window(size=(200, 120))
    whole = make_network(GAMMA, run=RunOptions(weights=random_weights, device="cpu"))(frames)
    parts = make_network(GAMMA, run=RunOptions(weights=random_weights, device="cpu", tile_wh=(104, 120)))
    tiled = parts(frames)
    assert np.abs(mu_law_numpy(whole.radiance) - mu_law_numpy(tiled.radiance)).max() < 2e-3
    assert np.abs(whole.confidence - tiled.confidence).max() < 0.02


def test_any_size_and_any_response(random_weights: Path) -> None:
    """Sizes that are no multiple of 8; a linear camera gives what the same light gives at a curve of 2.2."""
    frames = window(size=(101, 67))
    run = RunOptions(weights=random_weights, device="cpu")
    fused = make_network(GAMMA, run=run)(frames)
    assert fused.radiance.shape == (67, 101, 3) and fused.confidence.shape == (67, 101)
    assert np.isfinite(fused.radiance).all() and fused.radiance.min() >= 0
    assert fused.confidence.min() >= 0 and fused.confidence.max() <= 1
    linear = [replace(frame, image=(frame.image**2.2).astype(np.float32)) for frame in frames]
    again = make_network(known_response("linear"), run=run)(linear)
    assert np.quantile(np.abs(mu_law_numpy(again.radiance) - mu_law_numpy(fused.radiance)), 0.99) < 2e-3


def test_well_exposed_pixels_of_the_reference_are_kept() -> None:
    image = torch.tensor([0.1, 0.5, 0.99]).view(1, 1, 1, 3).expand(1, 3, 1, 3)
    exposure = torch.tensor([4.0])
    for wrong in (0.0, 0.9):
        kept = keep_reference(torch.full((1, 3, 1, 3), wrong), image, exposure, 0.03)[0, 0, 0]
        assert kept[0] == wrong and kept[2] == pytest.approx(wrong)
        recorded = float(kept[1] * 4.0) ** (1 / 2.2)
        assert abs(recorded - 0.5) == pytest.approx(0.03, abs=1e-4)


def test_warp_and_filters_agree_with_plain_shifts() -> None:
    image = torch.rand(1, 2, 12, 16)
    flow = torch.zeros(1, 2, 12, 16)
    flow[:, 0], flow[:, 1] = 3.0, -2.0
    for mode in ("bilinear", "bicubic"):
        moved = warp(image, flow, mode)
        assert torch.allclose(moved[..., 3:-1, 1:-4], image[..., 1:-3, 4:-1], atol=1e-5)
    factors = torch.zeros(1, len(AROUND), 12, 16)
    factors[:, AROUND.index((2, -2))] = 1.0
    sharp = image[:, :1] + filter_around(image[:, :1], factors)
    assert torch.allclose(sharp[..., 2:, :-2], image[:, :1, :-2, 2:])


def test_mu_law_and_back() -> None:
    radiance = torch.linspace(0, 1, 50)
    assert torch.allclose(inverse_mu_law(mu_law(radiance)), radiance, atol=1e-6)


def test_deformable_alignment_starts_regular_and_follows_offsets() -> None:
    torch.manual_seed(0)
    layer = DeformableAlignment(4)
    neighbour, reference = torch.rand(1, 4, 9, 11), torch.rand(1, 4, 9, 11)
    start = layer(neighbour, reference)
    weight = layer.mix.weight.view(4, 9, 4).permute(0, 2, 1).reshape(4, 4, 3, 3)
    plain = torch.nn.functional.conv2d(neighbour, weight, layer.mix.bias)
    assert torch.allclose(start[..., 1:-1, 1:-1], plain, atol=1e-5)
    with torch.no_grad():
        layer.offsets.bias[0::3] = 1.0  # every sample one pixel to the right
    assert torch.allclose(layer(neighbour, reference)[..., 1:-1, 1:-2], plain[..., 1:], atol=1e-5)


def test_attention_takes_any_number_of_frames_in_any_order() -> None:
    torch.manual_seed(0)
    layer = FrameAttention(4)
    frames = torch.rand(2, 5, 4, 6, 6)
    one = layer(frames, frames[:, 0])
    other = layer(frames[:, [0, 3, 1, 4, 2]], frames[:, 0])
    assert torch.allclose(one, other, atol=1e-6)
    assert layer(frames[:, :3], frames[:, 0]).shape == one.shape


def test_it_is_a_method_of_the_tool(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(METHODS) == set(METHOD_NAMES)
    monkeypatch.setitem(sys.modules, "walkaround.hdr.network.fuse", None)
    with pytest.raises(UsageError, match=r"pip install 'walkaround\[torch\]'"):
        METHODS["network"](GAMMA, FusionOptions())


def test_messages(tmp_path: Path, untrained: Path) -> None:
    with pytest.raises(InputError, match="no weights"):
        read_weights(tmp_path / "none.safetensors")
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"nothing")
    with pytest.raises(FormatError, match="holds no weights of this network"):
        read_weights(broken)
    fuse = make_network(GAMMA, run=RunOptions(weights=untrained, device="cpu"))
    with pytest.raises(InputError, match="A window of 2 frames"):
        fuse(window()[:2])
    if not torch.cuda.is_available():
        with pytest.raises(UsageError, match="finds no such device"):
            make_network(GAMMA, run=RunOptions(weights=untrained, device="cuda"))


@pytest.mark.skipif(not SHIPPED.is_file(), reason="no weights are shipped yet")
def test_shipped_weights_are_small_and_better_than_the_fusion() -> None:
    """On a clip of drawn leaves with a seed that training does not draw."""
    assert SHIPPED.stat().st_size <= 10_000_000
    assert (SHIPPED.parent / "CARD.md").is_file()
    options = ClipOptions(size=(192, 128), num_frames=4)
    picture = draw_leaves((400, 300), np.random.default_rng([10_000, 73]))
    clip = synthesise_clip(picture, [picture], options, seed=5)
    gains = []
    for at in (1, 2):
        frames = window_around(clip.frames, at, 2)
        truth = mu_law_numpy(clip.truth[at])
        errors = [
            np.mean((mu_law_numpy(method(frames).radiance) - truth) ** 2)
            for method in (make_fusion(GAMMA), make_network(GAMMA, run=RunOptions(device="cpu")))
        ]
        gains.append(10 * np.log10(errors[0] / errors[1]))
    assert min(gains) > 0 and np.mean(gains) > 0.5
