"""Networks on point clouds: sampling and neighbours against plain twins, sizes against the published ones."""

from __future__ import annotations

import math

import numpy as np
import pytest

from walkaround.errors import UsageError

torch = pytest.importorskip("torch")

from walkaround.studies.clouds import neighbours  # noqa: E402
from walkaround.studies.clouds.layers import count_parameters  # noqa: E402
from walkaround.studies.clouds.networks import NETWORKS, build_network  # noqa: E402
from walkaround.studies.clouds.pointmae import (  # noqa: E402
    SMALL_MAE,
    MaeShape,
    MaskedAutoencoder,
    PointTransformer,
    chamfer_distance,
)
from walkaround.studies.clouds.pointnet import PointNet  # noqa: E402


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(3)


def _points(batch: int, total: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(batch, total, 3)).astype(np.float32)
    points[:, total // 2] = points[:, 1]  # a point that comes twice
    return points


def _plain_farthest(points: np.ndarray, count: int) -> list[int]:
    """One cloud, by the definition: the point whose nearest chosen point is farthest."""
    chosen = [0]
    while len(chosen) < count:
        gaps = [
            min(float(((points[n] - points[c]) ** 2).sum(dtype=np.float32)) for c in chosen)
            for n in range(len(points))
        ]
        chosen.append(int(np.argmax(gaps)))
    return chosen


def _plain_ball(points: np.ndarray, centre: np.ndarray, radius: float, count: int) -> list[int]:
    gaps = [math.dist(point, centre) for point in points]
    inside = [n for n, gap in enumerate(gaps) if gap <= radius][:count] or [int(np.argmin(gaps))]
    return inside + inside[:1] * (count - len(inside))


def test_farthest_points_against_the_definition() -> None:
    points = _points(3, 60)
    found = neighbours.farthest_points(torch.from_numpy(points), 20)
    assert found.tolist() == [_plain_farthest(cloud, 20) for cloud in points]


def test_both_ways_of_farthest_points_agree() -> None:
    points = torch.from_numpy(_points(4, 300))
    assert torch.equal(neighbours.farthest_points(points, 90), neighbours._farthest_by_torch(points, 90))


@pytest.mark.parametrize("radius", [0.05, 0.7, 9.0])
def test_ball_query_against_the_definition(radius: float) -> None:
    points, centres = _points(2, 50), _points(2, 7, seed=1)
    expected = [
        [_plain_ball(cloud, centre, radius, 6) for centre in own]
        for cloud, own in zip(points, centres, strict=True)
    ]
    tensors = torch.from_numpy(points), torch.from_numpy(centres)
    assert neighbours.ball_query(*tensors, radius, 6).tolist() == expected
    assert neighbours._ball_by_torch(*tensors, radius, 6).tolist() == expected


def test_nearest_points_against_the_definition() -> None:
    points, centres = np.random.default_rng(0).normal(size=(2, 50, 3)), _points(2, 7, seed=1)
    points = points.astype(np.float32)
    found = neighbours.nearest_points(torch.from_numpy(points), torch.from_numpy(centres), 9).numpy()
    for cloud, own, rows in zip(points, centres, found, strict=True):
        for centre, row in zip(own, rows, strict=True):
            gaps = [math.dist(point, centre) for point in cloud]
            assert row.tolist() == np.argsort(gaps)[:9].tolist()


def test_gather() -> None:
    values = torch.arange(24.0).reshape(2, 4, 3)
    index = torch.tensor([[[0, 3], [1, 1]], [[2, 0], [3, 3]]])
    found = neighbours.gather(values, index)
    assert found.shape == (2, 2, 2, 3)
    assert torch.equal(found[1, 0, 0], values[1, 2])


def test_too_few_points_name_the_remedy() -> None:
    with pytest.raises(UsageError, match="9 farthest points are wanted of clouds with 5 points"):
        neighbours.farthest_points(torch.zeros(1, 5, 3), 9)


PUBLISHED = {
    # network, classes: millions as published, and to how many of them ours must come
    ("pointnet", 40): (3.5, 0.05),  # arXiv:1612.00593, table 6
    ("pointnet2", 40): (1.48, 0.01),  # arXiv:2206.04670, table 2, has 1.5 without decimals
    ("pointmlp", 15): (13.2, 0.05),  # arXiv:2206.04670, table 2, counted in the authors' code
    ("pointmae", 15): (22.1, 0.05),  # arXiv:2302.02318, table 1
}


@pytest.mark.parametrize(("name", "classes"), PUBLISHED)
def test_sizes_are_the_published_ones(name: str, classes: int) -> None:
    published, tolerance = PUBLISHED[name, classes]
    assert count_parameters(build_network(name, classes)) / 1e6 == pytest.approx(published, abs=tolerance)


@pytest.mark.parametrize(
    ("name", "classes", "count"),
    [("pointnet", 40, 3_480_049), ("pointnet2", 40, 1_475_688), ("pointmlp", 40, 13_238_504),
     ("pointmlp-elite", 40, 716_232), ("pointmae", 40, 22_099_752)],
)  # fmt: skip
def test_sizes_stay(name: str, classes: int, count: int) -> None:
    assert count_parameters(build_network(name, classes)) == count


@pytest.mark.parametrize("name", NETWORKS)
def test_small_networks_learn_from_every_part(name: str) -> None:
    network = build_network(name, 4, size="small")
    points = torch.from_numpy(_points(4, 128))
    scores = network(points)
    assert scores.shape == (4, 4)
    loss = torch.nn.functional.cross_entropy(scores, torch.arange(4)) + network.penalty()
    loss.backward()
    without = [key for key, value in network.named_parameters() if value.grad is None]
    assert not without


@pytest.mark.parametrize("name", ["pointnet", "pointnet2", "pointmlp", "pointmae"])
def test_scores_of_a_cloud_do_not_depend_on_the_batch(name: str) -> None:
    network = build_network(name, 4, size="small").eval()
    points = torch.from_numpy(_points(3, 128))
    with torch.no_grad():
        together, alone = network(points), network(points[1:2])
    assert torch.allclose(together[1:2], alone, atol=1e-5)


@pytest.mark.parametrize("name", ["pointnet", "pointmlp", "pointmae"])
def test_order_of_the_points_does_not_matter_after_the_first(name: str) -> None:
    """Farthest points start with the first; balls take the first points they meet, so PointNet++ differs."""
    network = build_network(name, 4, size="small").eval()
    points = torch.randn(1, 128, 3)
    other = torch.cat([points[:, :1], points[:, 1:].flip(1)], dim=1)
    with torch.no_grad():
        assert torch.allclose(network(points), network(other), atol=1e-5)


def test_pointnet_starts_with_the_identity_and_its_penalty_sees_a_stretch() -> None:
    network = PointNet(3, width=0.25)
    network(torch.randn(2, 32, 3))
    assert network.penalty().item() == pytest.approx(0.0, abs=1e-9)
    with torch.no_grad():
        network.feature_transform.head[-1].bias.copy_(torch.eye(16).flatten())  # twice the identity
    network(torch.randn(2, 32, 3))
    assert network.penalty().item() == pytest.approx(0.001 * 0.5 * 16 * 9, rel=1e-5)
    network.eval()(torch.randn(2, 32, 3))
    assert network.penalty() == 0.0


def test_chamfer_distance_by_hand() -> None:
    a = torch.tensor([[[0.0, 0, 0], [1, 0, 0]]])
    b = torch.tensor([[[0.0, 0, 0], [0, 2, 0], [1, 0, 1]]])
    assert chamfer_distance(a, b).item() == pytest.approx((0 + 1) / 2 + (0 + 4 + 1) / 3)


def test_hidden_patches_are_not_seen_by_the_encoder() -> None:
    """Moving the points of hidden patches must change the loss only through its truth."""
    network = MaskedAutoencoder(SMALL_MAE).eval()
    centres = torch.randn(5, SMALL_MAE.patches, 3)
    seen, hidden = network._hide(centres, torch.Generator().manual_seed(1))
    assert hidden.shape == (5, int(0.6 * 24)) and seen.shape == (5, 24 - int(0.6 * 24))
    assert [sorted(row) for row in torch.cat([seen, hidden], dim=1).tolist()] == [list(range(24))] * 5
    assert seen[0].tolist() != seen[1].tolist()
    encoded = []
    network.encoder.encode = (
        lambda patches, *rest: (
            encoded.append(patches)
            or torch.zeros(  # type: ignore[method-assign]
                *patches.shape[:2], SMALL_MAE.channels
            )
        )
    )
    network(torch.randn(2, 96, 3), generator=torch.Generator().manual_seed(1))
    assert encoded[0].shape[1] == 24 - int(0.6 * 24)


def test_pretraining_lowers_its_loss_and_hands_on_its_encoder() -> None:
    shape = MaeShape(patches=8, patch_points=8, channels=32, depth=2, decoder_depth=1, heads=2, drop_path=0.0)
    network = MaskedAutoencoder(shape)
    points = torch.from_numpy(_points(8, 64)) * 0.3
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3)
    losses = []
    for _ in range(30):
        loss = network(points, generator=torch.Generator().manual_seed(0))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
    classifier = PointTransformer(3, shape=shape)
    classifier.encoder.load_state_dict(network.encoder.state_dict())


def test_unknown_names_are_listed() -> None:
    with pytest.raises(UsageError, match="pointnet, pointnet2"):
        build_network("dgcnn", 3)
    with pytest.raises(UsageError, match="its sizes are paper, small"):
        build_network("pointnet", 3, size="huge")
