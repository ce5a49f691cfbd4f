"""Gaussian splats: the kernels against a plain twin, the fit, the files, the command."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from tests.test_radiance import SIZE, plane_views
from walkaround.cli import main
from walkaround.errors import FormatError, InputError, UsageError
from walkaround.io.pointcloud import read_ply, read_ply_table
from walkaround.io.video import probe_video
from walkaround.radiance.views import TargetView, ViewSet
from walkaround.splats.options import SplatOptions

torch = pytest.importorskip("torch")

from walkaround.splats import gaussians as splats  # noqa: E402
from walkaround.splats.density import grown, pruned  # noqa: E402
from walkaround.splats.files import read_splats, write_splats  # noqa: E402
from walkaround.splats.fit import fit_splats, picture_of  # noqa: E402
from walkaround.splats.rasterise import rasterise  # noqa: E402
from walkaround.splats.start import first_gaussians  # noqa: E402


def some_splats(count: int = 40, seed: int = 0, size: tuple[int, int] = (37, 50)) -> tuple[torch.Tensor, ...]:
    """Return projected splats of random shapes, their reach and depths."""
    rng = np.random.default_rng(seed)
    axes = rng.normal(size=(count, 2, 2)) * rng.uniform(1, 6, (count, 1, 1))
    covariance = axes @ axes.transpose(0, 2, 1) + 0.5 * np.eye(2)
    conic = np.linalg.inv(covariance)
    opacity = rng.uniform(0.05, 0.999, count)
    table = np.concatenate(
        [
            rng.uniform(-5, [size[1] + 5, size[0] + 5], (count, 2)),
            np.stack([conic[:, 0, 0], conic[:, 0, 1], conic[:, 1, 1]], axis=1),
            rng.uniform(0, 1, (count, 3)),
            opacity[:, None],
        ],
        axis=1,
    )
    radius = np.sqrt(2 * np.log(255 * opacity))[:, None]
    reach = radius * np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
    return tuple(torch.from_numpy(part).float() for part in (table, reach, rng.uniform(1, 5, count)))


def plain_twin(table: torch.Tensor, depths: torch.Tensor, size: tuple[int, int]) -> tuple[torch.Tensor, ...]:
    """Draw every splat over every pixel, one after the other; in double precision."""
    y, x = torch.meshgrid(*(torch.arange(side, dtype=torch.float64) + 0.5 for side in size), indexing="ij")
    image, passed = torch.zeros(*size, 3, dtype=torch.float64), torch.ones(size, dtype=torch.float64)
    for splat in table.double()[torch.argsort(depths)]:
        dx, dy = x - splat[0], y - splat[1]
        power = 0.5 * (splat[2] * dx * dx + splat[4] * dy * dy) + splat[3] * dx * dy
        alpha = (splat[8] * torch.exp(-power)).clamp(max=0.99)
        alpha = torch.where((alpha >= 1 / 255) & (passed.detach() >= 1e-4), alpha, torch.zeros_like(alpha))
        image = image + (passed * alpha)[..., None] * splat[5:8]
        passed = passed * (1 - alpha)
    return image, passed


@pytest.mark.parametrize("threads", [1, 3])
def test_the_kernels_draw_what_the_plain_twin_draws(threads: int) -> None:
    size = (37, 50)
    for seed in range(3):
        table, reach, depths = some_splats(seed=seed)
        image, passed = rasterise(table, reach, depths, size, threads)
        wanted, wanted_passed = plain_twin(table, depths, size)
        assert torch.allclose(image.double(), wanted, atol=2e-5)
        assert torch.allclose(passed.double(), wanted_passed, atol=2e-5)
        assert passed.min() < 0.5, "there is something to see"


def test_threads_change_no_bit() -> None:
    table, reach, depths = some_splats(300, size=(64, 80))
    found = [rasterise(table, reach, depths, (64, 80), threads) for threads in (1, 2, 5)]
    for image, passed in found[1:]:
        assert torch.equal(image, found[0][0]) and torch.equal(passed, found[0][1])


def test_gradients_are_those_of_the_plain_twin() -> None:
    size = (37, 50)
    for seed in range(3):
        table, reach, depths = some_splats(seed=seed)
        generator = torch.Generator().manual_seed(seed)
        weights, more = torch.rand(*size, 3, generator=generator), torch.rand(size, generator=generator)
        gradients = []
        for twin in (False, True):
            leaf = table.clone().requires_grad_(True)
            image, passed = plain_twin(leaf, depths, size) if twin else rasterise(leaf, reach, depths, size)
            ((image * weights).sum() + (passed * more).sum()).backward()
            gradients.append(leaf.grad)
        scale = gradients[1].abs().amax(dim=0)
        assert ((gradients[0] - gradients[1]).abs() <= 2e-3 * scale + 1e-4).all()


def test_no_splat_draws_nothing() -> None:
    empty = torch.zeros(0, 9)
    image, passed = rasterise(empty, torch.zeros(0, 2), torch.zeros(0), (20, 30))
    assert image.shape == (20, 30, 3) and not image.any() and (passed == 1).all()


def one_gaussian(place: tuple[float, float, float], scale: float = 0.05, degree: int = 0) -> splats.Gaussians:
    return splats.Gaussians(
        means=torch.tensor([place]),
        log_scales=torch.full((1, 3), float(np.log(scale))),
        rotations=torch.tensor([[1.0, 0, 0, 0]]),
        logits=torch.tensor([4.0]),
        harmonics=torch.zeros(1, (degree + 1) ** 2, 3),
    )


def camera() -> TargetView:
    K = np.array([[60.0, 0, 32], [0, 60.0, 24], [0, 0, 1]])
    return TargetView(K=K, cam_from_world=np.eye(4), size_hw=(48, 64), depth_range=np.array([0.5, 1, 3, 5]))


def test_a_gaussian_lies_where_its_centre_projects_to_and_is_as_large() -> None:
    image = splats.draw(one_gaussian((0.2, -0.1, 2.0)), camera()).image[..., 0]
    y, x = np.mgrid[:48, :64] + 0.5
    weight = image.numpy() / image.numpy().sum()
    assert (weight * x).sum() == pytest.approx(32 + 60 * 0.1, abs=0.05)
    assert (weight * y).sum() == pytest.approx(24 - 60 * 0.05, abs=0.05)
    spread = (weight * (x - (weight * x).sum()) ** 2).sum()
    # 0.05 wide at a distance of 2 and the blur; the faint rim is cut off
    assert spread == pytest.approx((60 * 0.05 / 2) ** 2 + 0.3, rel=0.1)


def test_what_is_nearer_than_the_scene_is_not_drawn() -> None:
    assert splats.draw(one_gaussian((0, 0, 0.6)), camera()).image.any()
    assert not splats.draw(one_gaussian((0, 0, 0.4)), camera()).image.any()
    assert not splats.draw(one_gaussian((0, 0, -2.0)), camera()).image.any()


def test_harmonics_are_orthonormal() -> None:
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(200_000, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    harmonics = torch.zeros(16, 16, 3)
    harmonics[torch.arange(16), torch.arange(16), 0] = 0.1  # small: no colour is clipped at 0
    sent = torch.from_numpy(directions).float()
    values = np.stack(
        [splats.colours_of(harmonics[k : k + 1].expand(len(sent), -1, -1), sent)[:, 0] for k in range(16)]
    )
    values = (values - 0.5) / 0.1
    product = 4 * np.pi * values @ values.T / len(directions)
    assert np.abs(product - np.eye(16)).max() < 0.02


def test_rotations_turn_like_scipy() -> None:
    from scipy.spatial.transform import Rotation

    quaternions = np.random.default_rng(0).normal(size=(20, 4))
    found = splats.rotation_matrices(torch.from_numpy(quaternions)).numpy()
    assert np.allclose(found, Rotation.from_quat(quaternions, scalar_first=True).as_matrix())


@pytest.fixture(scope="module")
def plane() -> ViewSet:
    return plane_views()


def start(plane: ViewSet, masks: np.ndarray | None = None, most: int = 600) -> splats.Gaussians:
    return first_gaussians(plane, np.zeros((0, 3)), masks, most=most, degree=1, rng=np.random.default_rng(0))


def difference(gaussians: splats.Gaussians, views: ViewSet) -> float:
    pictures = [picture_of(gaussians, views.target(number)) for number in range(len(views))]
    return float(np.abs(np.stack(pictures).astype(float) - views.images_srgb).mean())


def test_fitting_comes_near_the_pictures_and_a_held_out_one(plane: ViewSet) -> None:
    fitted = plane.part(np.array([0, 1, 3, 4, 5]))
    first = start(fitted)
    found = fit_splats(fitted, first, SplatOptions(steps=250, most=800))
    assert difference(found, fitted) < 0.35 * difference(first, fitted)
    assert difference(found, plane.part(np.array([2]))) < 0.5 * difference(first, plane.part(np.array([2])))
    assert len(found) <= 800
    again = fit_splats(fitted, first, SplatOptions(steps=250, most=800), num_threads=2)
    assert torch.equal(again.means, found.means), "the same for any number of threads"


def test_the_object_alone_leaves_the_rest_empty(plane: ViewSet) -> None:
    assert plane.depth is not None
    centres = plane.centres
    v, u = np.mgrid[:SIZE, :SIZE] + 0.5
    rays = np.stack([(u - SIZE / 2) / (1.2 * SIZE), (v - SIZE / 2) / (1.2 * SIZE), np.ones_like(u)], axis=-1)
    masks = []
    for number in range(len(plane)):
        points = centres[number] + plane.depth[number][..., None] * (
            rays @ plane.cam_from_world[number, :3, :3]
        )
        masks.append(np.linalg.norm(points[..., :2], axis=-1) < 0.25)
    kept = np.stack(masks)
    assert 0.1 < kept.mean() < 0.6
    first = start(plane, kept)
    assert (np.linalg.norm(first.means[:, :2], axis=1) < 0.27).all(), "it begins on the object"
    found = fit_splats(plane, first, SplatOptions(steps=150, most=600, object_only=True), masks=kept)
    with torch.no_grad():
        passed = splats.draw(found, plane.target(2)).passed.numpy()
    assert passed[~kept[2]].mean() > 0.9 and passed[kept[2]].mean() < 0.15


def test_the_first_are_never_too_many(plane: ViewSet) -> None:
    points = np.random.default_rng(0).normal(size=(5000, 3)) * 0.2
    for most in (100, 1000):
        for views in (plane, dataclasses.replace(plane, depth=None)):
            found = first_gaussians(views, points, None, most=most, degree=0, rng=np.random.default_rng(0))
            assert most / 10 < len(found) <= 0.95 * most
    bare = dataclasses.replace(plane, depth=None)
    alone = first_gaussians(bare, points[:0], None, most=500, degree=0, rng=np.random.default_rng(0))
    assert 100 < len(alone) <= 500, "anywhere around the middle"
    nothing = np.zeros(plane.images_srgb.shape[:3], bool)
    with pytest.raises(InputError, match="nothing to begin with"):
        first_gaussians(bare, points, nothing, most=500, degree=0, rng=np.random.default_rng(0))


def test_growing_keeps_what_there_was(plane: ViewSet) -> None:
    first = start(plane)
    demand = torch.linspace(0, 1, len(first))
    more, origin = grown(first, demand, 30, 1e9, torch.Generator().manual_seed(0))
    new = len(more) - len(first)
    assert new == 30 and (origin[-new:] == -1).all()
    assert torch.equal(more.means[: len(first)], first.means), "small ones are doubled"
    split, origin = grown(first, demand, 30, 0.0, torch.Generator().manual_seed(0))
    assert (origin == -1).sum() == 2 * new, "large ones are replaced by two"
    assert (split.log_scales[-new:] < first.log_scales[-new:].flip(0)).all(), "the most wanted first"
    half, _ = grown(first, demand, 10**6, 1e9, torch.Generator().manual_seed(0))
    assert len(half) == len(first) + -(-len(first) // 2), "half of them at most"
    same, origin = grown(first, demand, 0, 1e9, torch.Generator())
    assert len(same) == len(first) and torch.equal(origin, torch.arange(len(first)))
    faint = dataclasses.replace(first, logits=torch.where(demand > 0.5, first.logits, torch.tensor(-9.0)))
    assert torch.equal(pruned(faint), torch.nonzero(demand > 0.5)[:, 0])


@pytest.mark.parametrize("degree", [0, 1, 3])
def test_files_are_read_as_written(tmp_path: Path, degree: int) -> None:
    rng = torch.Generator().manual_seed(0)
    written = splats.Gaussians(
        means=torch.randn(7, 3, generator=rng),
        log_scales=torch.randn(7, 3, generator=rng),
        rotations=torch.nn.functional.normalize(torch.randn(7, 4, generator=rng), dim=1),
        logits=torch.randn(7, generator=rng),
        harmonics=torch.randn(7, (degree + 1) ** 2, 3, generator=rng),
    )
    write_splats(tmp_path / "a.ply", written)
    read = read_splats(tmp_path / "a.ply")
    assert read.degree == degree
    for name, part in written.parts().items():
        assert torch.allclose(getattr(read, name), part, atol=1e-6), name
    table = read_ply_table(tmp_path / "a.ply")
    names = table.dtype.names or ()
    assert names[:9] == ("x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2")
    assert names[-8:] == ("opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3")
    if degree:
        # 3DGS keeps one colour after the other
        assert np.allclose(table["f_rest_0"], written.harmonics[:, 1, 0])
        assert np.allclose(table["f_rest_1"], written.harmonics[:, 2, 0])
        per_colour = (degree + 1) ** 2 - 1
        assert np.allclose(table[f"f_rest_{per_colour}"], written.harmonics[:, 1, 1])
    assert np.allclose(read_ply(tmp_path / "a.ply").points_in_world, written.means)


def test_what_is_no_splats_is_refused(tmp_path: Path, toys: Path) -> None:
    with pytest.raises(FormatError, match="no Gaussian splats"):
        read_splats(toys / "mug" / "mug-0000" / "cloud.ply")
    with pytest.raises(FormatError):
        read_splats(tmp_path / "none.ply")
    for options in (
        SplatOptions(steps=0),
        SplatOptions(most=3),
        SplatOptions(degree=4),
        SplatOptions(seed=-1),
    ):
        with pytest.raises(UsageError, match="splat: "):
            options.check()


def test_the_command_fits_a_sequence(toys: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sequence, out = toys / "mug" / "mug-0000", tmp_path / "mug.ply"
    few = ["--steps", "30", "--most", "500", "--size", "48", "--threads", "1"]
    film = ["--film", str(tmp_path / "orbit.mp4"), "--pictures", str(tmp_path / "look")]
    assert main(["splat", str(sequence), "--out", str(out), *film, *few]) == 0
    said = capsys.readouterr().err
    assert "Gaussians" in said and "held out" in said and "dB" in said
    assert len(read_splats(out)) > 100 and probe_video(tmp_path / "orbit.mp4").num_frames == 60
    assert len(list((tmp_path / "look").iterdir())) >= 1
    assert main(["splat", str(sequence), "--out", str(out), "--object-only", "--hold-out", "0", *few]) == 0
    assert "held out" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--out", "a.obj"], "must end in .ply"),
        (["--out", "a.ply", "--film", "a.gif"], "must end in .mp4"),
        (["--out", "a.ply", "--hold-out", "0", "--pictures", "look"], "--hold-out 0 leaves none"),
        (["--out", "a.ply", "--hold-out", "1"], "--hold-out is 1"),
        (["--out", "a.ply", "--steps", "0"], "steps is 0"),
        (["--out", "a.ply", "--degree", "4"], "degree is 4"),
        (["--out", "a.ply", "--threads", "-1"], "--threads is -1"),
    ],
)
def test_the_command_says_what_is_wrong(
    arguments: list[str], said: str, toys: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["splat", str(toys / "mug" / "mug-0000"), *arguments]) == 2
    assert said in capsys.readouterr().err


def test_what_cannot_be_written_is_said_before_the_fit(
    toys: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.ply").mkdir()
    sequence, good = str(toys / "mug" / "mug-0000"), ["--out", str(tmp_path / "a.ply")]
    many = ["--steps", "1000000"]  # would take hours
    for arguments in (
        ["--out", str(tmp_path / "folder.ply")],
        ["--out", str(tmp_path / "file" / "a.ply")],
        [*good, "--film", str(tmp_path / "file" / "a.mp4")],
        [*good, "--pictures", str(tmp_path / "file")],
    ):
        assert main(["splat", sequence, *arguments, *many]) == 2
        assert "cannot be written" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.ply"]
