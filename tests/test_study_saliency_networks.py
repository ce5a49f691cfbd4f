"""The networks of the saliency study against what was published, and their losses."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from walkaround.errors import UsageError  # noqa: E402
from walkaround.studies.saliency.losses import consistency_loss, supervised_loss, warped  # noqa: E402
from walkaround.studies.saliency.recipe import NETWORK_NAMES  # noqa: E402
from walkaround.studies.saliency.u2net import NETWORKS, NUM_OUTPUTS, make_network  # noqa: E402


def count(network: torch.nn.Module) -> int:
    return sum(value.numel() for value in network.parameters())


def test_parameters_are_those_published() -> None:
    """arXiv:2005.09007 gives 176.3 MB and 4.7 MB; in float32, and with the statistics that files hold too."""
    full, small = make_network("full"), make_network("small")
    assert count(full) == 44_009_869 and count(small) == 1_131_181
    assert 4 * count(full) / 1e6 == pytest.approx(176.3, abs=0.3)
    files = [4 * sum(v.numel() for v in n.state_dict().values()) / 1e6 for n in (full, small)]
    assert files[0] == pytest.approx(176.3, abs=0.3) and files[1] == pytest.approx(4.7, abs=0.2)
    assert count(make_network("tiny")) < 0.5e6
    assert tuple(NETWORKS) == NETWORK_NAMES, "what the recipe offers"


@pytest.mark.parametrize("name", ["small", "tiny"])
@pytest.mark.parametrize("size_hw", [(64, 64), (70, 97)])
def test_seven_maps_of_the_size_of_the_image(name: str, size_hw: tuple[int, int]) -> None:
    network = make_network(name).eval()
    with torch.inference_mode():
        maps = network(torch.zeros(1, 3, *size_hw))
    assert len(maps) == NUM_OUTPUTS
    assert all(each.shape == (1, 1, *size_hw) for each in maps)


def test_every_weight_learns() -> None:
    torch.manual_seed(0)
    network = make_network("tiny").train()
    supervised_loss(network(torch.randn(2, 3, 64, 64)), torch.ones(2, 1, 64, 64)).backward()
    assert all(value.grad is not None for value in network.parameters())


def test_an_unknown_network_is_refused() -> None:
    with pytest.raises(UsageError, match="full, small, tiny"):
        make_network("huge")


def test_warping_looks_where_the_flow_points() -> None:
    values = torch.arange(20.0).reshape(1, 1, 4, 5)
    flow = torch.zeros(1, 2, 4, 5)
    assert torch.allclose(warped(values, flow), values, atol=1e-5)
    flow[:, 0], flow[:, 1] = 1.0, -2.0
    moved = warped(values, flow)[0, 0]
    assert moved[3, 1] == pytest.approx(float(values[0, 0, 1, 2]), abs=1e-4)
    assert moved[0, 0] == 0, "outside"
    flow[:, 0], flow[:, 1] = 0.5, 0.0
    assert warped(values, flow)[0, 0, 2, 2] == pytest.approx(12.5, abs=1e-4)


def test_the_consistency_loss_counts_valid_pixels_alone() -> None:
    rng = np.random.default_rng(0)
    second = torch.from_numpy(rng.uniform(size=(1, 1, 8, 8)).astype(np.float32))
    first = torch.roll(second, -1, dims=3)  # first[x] = second[x + 1]
    flow = torch.zeros(1, 2, 8, 8)
    flow[:, 0] = 1
    valid = torch.ones(1, 8, 8)
    valid[..., -1] = 0
    assert float(consistency_loss(first, second, flow, valid)) == pytest.approx(0, abs=1e-5)
    off = first.clone()
    off[0, 0, 3, 3] += 0.5
    off[0, 0, 3, 7] += 0.5  # not valid
    assert float(consistency_loss(off, second, flow, valid)) == pytest.approx(0.5 / 56, abs=1e-5)
    assert float(consistency_loss(first, second, flow, torch.zeros(1, 8, 8))) == 0
