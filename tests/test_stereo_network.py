"""The learned stereo network: geometry of its plane sweep against projection, and that it can learn depth."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.test_depth import CAMERA, cast, orbit, photograph, sparse_model
from walkaround.depth import DepthOptions, estimate_depth
from walkaround.depth.learned import SHIPPED, _stereo
from walkaround.depth.store import ArrayStore
from walkaround.depth.views import StereoView, make_pyramid
from walkaround.errors import InputError, UsageError
from walkaround.geometry import normalised_rays, project, transform_points
from walkaround.types import View

torch = pytest.importorskip("torch")

from walkaround.depth.network.model import FeaturePyramid, StereoNetwork, enlarge  # noqa: E402
from walkaround.depth.network.sweep import (  # noqa: E402
    Stereo,
    even_planes,
    land,
    normalised,
    sample,
    variance_volume,
)
from walkaround.depth.network.weights import read_weights  # noqa: E402


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def stereo_of(views: list[View], low: float = 0.7, high: float = 1.6) -> Stereo:
    """Return one reference (the first view) with its sources, the images cut to 224x176."""
    images = np.stack([photograph(view)[:176, :224] for view in views]).astype(np.float32)
    return Stereo(
        images=normalised(torch.from_numpy(images))[None, :, None],
        K=torch.tensor(np.stack([view.camera.K for view in views]), dtype=torch.float32)[None],
        cam_from_world=torch.tensor(np.stack([v.cam_from_world for v in views]), dtype=torch.float32)[None],
        inverse_range=torch.tensor([[low, high]]),
    )


@pytest.fixture(scope="module")
def views() -> list[View]:
    return orbit([0.0, 8.0, -9.0], CAMERA)


@pytest.fixture(scope="module")
def stereo(views: list[View]) -> Stereo:
    return stereo_of(views)


@pytest.mark.parametrize("step", [1, 2, 4])
def test_pixels_land_where_projection_says(views: list[View], stereo: Stereo, step: int) -> None:
    """At full and reduced size: a pixel of a reduced grid has its centre between those it covers."""
    h, w = 176 // step, 224 // step
    inverse = torch.rand((1, 2, h, w), generator=torch.Generator().manual_seed(0)) * 0.6 + 0.8
    grid = land(stereo, 2, inverse)[0].numpy()
    u, v = np.meshgrid((np.arange(w) + 0.5) * step, (np.arange(h) + 0.5) * step)
    rays = normalised_rays(CAMERA, np.stack([u, v], axis=-1))
    for plane in range(2):
        z = 1 / inverse[0, plane].numpy().astype(float)[..., None]
        points = np.concatenate([rays * z, z], axis=-1).reshape(-1, 3)
        relative = views[2].cam_from_world @ np.linalg.inv(views[0].cam_from_world)
        pixels = project(CAMERA, transform_points(relative, points)).reshape(h, w, 2)
        inside = ((pixels > 0) & (pixels < [224, 176])).all(axis=-1)
        found = (grid[plane] + 1) / 2 * [224, 176]  # corner to corner
        assert inside.mean() > 0.3
        assert np.abs(found - pixels)[inside].max() < 2e-3


def test_sampling_at_a_pixels_centre_gives_the_pixel() -> None:
    image = torch.arange(20.0).view(1, 1, 4, 5)
    x, y = 3.5, 1.5  # COLMAP's centre of column 3, row 1
    grid = torch.tensor([2 * x / 5 - 1, 2 * y / 4 - 1]).view(1, 1, 1, 1, 2)
    assert sample(image, grid).item() == pytest.approx(8.0, abs=1e-5)


def test_points_behind_a_source_land_outside(stereo: Stereo) -> None:
    behind = stereo.cam_from_world.clone()
    behind[:, 1, 2, 3] -= 5.0
    grid = land(stereo._replace(cam_from_world=behind), 1, torch.ones((1, 1, 4, 4)))
    assert (grid.abs() > 1).any(dim=-1).all()


def test_variance_is_least_at_the_true_depth(views: list[View], stereo: Stereo) -> None:
    """Images as features: swept over planes, they agree where the surface is."""
    truth = cast(views[0]).depth[:176, :224]
    planes, spacing = even_planes(stereo.inverse_range, 60)
    inverse = planes[:, :, None, None].expand(1, 60, 176, 224)
    volume = variance_volume(stereo.images, stereo, inverse)[0]
    volume = torch.nn.functional.avg_pool3d(volume, (1, 5, 5), stride=1, padding=(0, 2, 2))[0]
    found = planes[0][volume.argmin(dim=0)].numpy()
    near = (truth > 1 / 1.5) & (truth < 1 / 0.8)  # the middle of the sphere and of the table
    wrong = np.abs(found - 1 / np.maximum(truth, 0.1))[near] / float(spacing)
    assert near.mean() > 0.4
    assert np.median(wrong) < 0.8
    assert (wrong < 1.5).mean() > 0.85
    assert planes[0, 0] == pytest.approx(0.7) and planes[0, -1] == pytest.approx(1.6)


def test_features_lie_in_the_middle_of_what_they_cover() -> None:
    """Mirroring image and kernels mirrors the features: no half pixel to one side."""
    torch.manual_seed(0)
    pyramid = FeaturePyramid(4, 4).eval()
    image = torch.randn(1, 1, 1, 32, 48)
    plain = pyramid(image)
    with torch.no_grad():
        for module in pyramid.modules():
            if isinstance(module, torch.nn.Conv2d):
                module.weight.copy_(module.weight.flip(-1))
    mirrored = pyramid(image.flip(-1))
    for a, b in zip(plain, mirrored, strict=True):
        assert torch.allclose(a, b.flip(-1), atol=1e-4)


def test_normalisation_undoes_exposure() -> None:
    image = torch.rand((2, 1, 8, 8), generator=torch.Generator().manual_seed(1))
    assert torch.allclose(normalised(image), normalised(0.4 * image + 0.3), atol=0.02)
    assert torch.isfinite(normalised(torch.full((1, 8, 8), 0.5))).all()


def test_estimates_stay_in_the_range_and_have_the_sizes(stereo: Stereo) -> None:
    torch.manual_seed(0)
    network = StereoNetwork().eval()
    with torch.no_grad():
        first, second = network(stereo)
        many, _ = network(stereo, planes=50)
    assert first.inverse.shape == (1, 44, 56) and second.inverse.shape == (1, 88, 112)
    low, high = stereo.inverse_range[0]
    assert (first.inverse >= low).all() and (first.inverse <= high).all()
    assert ((second.confidence >= 0) & (second.confidence <= 1)).all()
    assert float(many.spacing) == pytest.approx(float(high - low) / 49)
    assert float(second.spacing) == pytest.approx(float(first.spacing) / 2)


def test_the_network_learns_the_depth_of_a_scene(views: list[View], stereo: Stereo) -> None:
    """A few steps on one sample bring its depth near the truth: gradients reach every part."""
    truth = torch.from_numpy(1 / cast(views[0]).depth[:176, :224]).float()[None]
    box = slice(16, 112), slice(32, 160)  # rows, columns; the principal point moves with them
    shift = torch.tensor([[[0, 0, 32.0], [0, 0, 16.0], [0, 0, 0]]])
    small = stereo._replace(images=stereo.images[..., box[0], box[1]], K=stereo.K - shift)
    truth = truth[:, box[0], box[1]]
    torch.manual_seed(0)
    network = StereoNetwork()
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
    errors = []
    for _ in range(30):
        loss = torch.zeros(())
        for estimate in network(small):
            target = torch.nn.functional.interpolate(truth[:, None], estimate.inverse.shape[-2:], mode="area")
            loss = loss + ((estimate.inverse - target[:, 0]).abs() / estimate.spacing).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        errors.append(loss.item())
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())
    assert errors[-1] < 0.5 * errors[0]
    with torch.no_grad():
        fine = enlarge(network(small)[1].inverse, (96, 128))
    assert (fine / truth - 1).abs().median() < 0.03


# --- the depth backend ---


def test_the_learned_backend_measures_the_sphere(tmp_path: Path) -> None:
    """With the weights of the package: most of what it keeps is right, and what it keeps is a good part."""
    seen = orbit([0.0, 10.0, 20.0, 30.0], CAMERA)
    for view in seen:
        assert cv2.imwrite(str(tmp_path / view.frame.image), photograph(view))
    options = DepthOptions(backend="learned")
    found = dict(estimate_depth(tmp_path, sparse_model(seen), options=options, num_threads=1))
    errors, shares = [], []
    for index, view in enumerate(seen):
        truth = cast(view).depth
        result = found[index]
        assert result.depth.shape == truth.shape and not result.depth[~result.depth_valid].any()
        shares.append(result.depth_valid.mean())
        errors.append((np.abs(result.depth - truth) / truth)[result.depth_valid])
    error = np.concatenate(errors)
    assert np.mean(shares) > 0.3
    assert np.median(error) < 0.01 and (error < 0.02).mean() > 0.9


def test_images_of_different_sizes_keep_their_cameras(views: list[View]) -> None:
    """Filling up to one size moves no pixel: the same landing places as with projection."""
    cameras = CAMERA, CAMERA.scaled(200, 150)
    store = ArrayStore()
    pair = []
    for number, camera in enumerate(cameras):
        view = replace(views[number], camera=camera)
        levels = make_pyramid(store, str(number), photograph(view), camera.K)
        others = np.array([1 - number])
        pair.append(
            StereoView(view=view, levels=levels, neighbours=others, sources=others, w_low=0.7, w_high=1.6)
        )
    stereo = _stereo(pair, np.array([0, 1]))
    assert stereo.images.shape == (1, 2, 1, 192, 240)
    grid = land(stereo, 1, torch.full((1, 1, 192, 240), 1.0))[0, 0].numpy()
    ray = normalised_rays(CAMERA)[70, 110]
    relative = views[1].cam_from_world @ np.linalg.inv(views[0].cam_from_world)
    pixel = project(cameras[1], transform_points(relative, np.array([[*ray, 1.0]])))[0]
    assert (grid[70, 110] + 1) / 2 * [240, 192] == pytest.approx(pixel, abs=1e-3)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (DepthOptions(backend="learned", fill=True), "--depth.fill works with"),
        (DepthOptions(weights=Path("w")), "--depth.weights goes with --depth.backend learned"),
    ],
)
def test_options_that_do_not_fit(options: DepthOptions, said: str, views: list[View]) -> None:
    with pytest.raises(UsageError, match=said):
        estimate_depth(Path(), sparse_model(views), options=options)


def test_missing_weights_are_said_at_the_call(tmp_path: Path, views: list[View]) -> None:
    options = DepthOptions(backend="learned", weights=tmp_path / "none.safetensors")
    with pytest.raises(InputError, match=r"no weights .*none\.safetensors"):
        estimate_depth(tmp_path, sparse_model(views), options=options)


def test_torch_that_is_missing_is_said_with_the_remedy(
    views: list[View], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "walkaround.depth.network.weights", None)
    with pytest.raises(UsageError, match=r"pip install 'walkaround\[torch\]'"):
        estimate_depth(Path(), sparse_model(views), options=DepthOptions(backend="learned"))


def test_shipped_weights_are_small_and_say_how_they_were_made() -> None:
    _, facts = read_weights(SHIPPED)
    assert {"commit", "steps", "study"} <= facts.keys()
    assert SHIPPED.stat().st_size < 2_000_000
    assert "benchmarks/train_stereo.py" in (SHIPPED.parent / "CARD.md").read_text(encoding="utf-8")
