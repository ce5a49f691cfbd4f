"""The fast way: tiles without seams, classical estimates, and a network that improves on them."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from walkaround.errors import UsageError  # noqa: E402
from walkaround.restore.classical import estimate_sigma, fill_missing, nlm  # noqa: E402
from walkaround.restore.denoise import denoise_by_pairs, nlm_tiled  # noqa: E402
from walkaround.restore.options import PairsOptions  # noqa: E402
from walkaround.restore.pairs import Corrector, Pair, correct, learn  # noqa: E402


def scene(height: int = 96, width: int = 112) -> np.ndarray:  # (H, W, 3)
    rows, columns = np.mgrid[:height, :width]
    picture = np.stack([0.5 + 0.3 * np.sin(columns / 5), rows / height, 1 - columns / width], -1)
    picture[30:70, 20:60] = (0.8, 0.2, 0.3)
    picture[::6, 70:] = 0.1
    return picture.astype(np.float32)


def noisy(picture: np.ndarray, sigma: float = 0.1, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal(picture.shape)
    return (picture + sigma * noise).astype(np.float32)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(-10 * np.log10(np.square(a - b).mean()))


def trained(seed: int = 0) -> Corrector:
    """Return a network whose every layer does something."""
    torch.manual_seed(seed)
    network = Corrector(3, 3, 8)
    torch.nn.init.normal_(network.last.weight, std=0.1)
    return network.eval()


def test_tiles_join_exactly() -> None:
    network = trained()
    base, extra = torch.rand(1, 3, 203, 331), torch.rand(1, 3, 203, 331)
    whole = correct(network, base, extra, tile_px=512)
    tiled = correct(network, base, extra, tile_px=64)
    assert not torch.allclose(whole, base, atol=0.01)
    torch.testing.assert_close(tiled, whole, atol=1e-5, rtol=0)


def test_eight_turns_do_not_know_left_from_right() -> None:
    network = trained()
    base, extra = torch.rand(1, 3, 64, 48), torch.rand(1, 3, 64, 48)
    once = correct(network, base, extra, turns=8)
    mirrored = correct(network, base.flip(3), extra.flip(3), turns=8).flip(3)
    torch.testing.assert_close(once, mirrored, atol=1e-5, rtol=0)
    one_way = correct(network, base.flip(3), extra.flip(3), turns=4).flip(3)
    assert not torch.allclose(correct(network, base, extra, turns=4), one_way, atol=1e-3)


def test_the_halo_is_as_wide_as_the_network_sees() -> None:
    from walkaround.restore.pairs import HALO_PX

    network = trained()
    base = torch.rand(1, 3, 8, 320, requires_grad=True)
    network(base, base.detach())[..., 160:168].sum().backward()
    assert base.grad is not None
    seen = torch.nonzero(base.grad.abs().sum((0, 1, 2)) > 0).flatten()
    assert 160 - HALO_PX <= int(seen.min()) < 150 and 170 < int(seen.max()) < 168 + HALO_PX


def test_a_new_network_changes_nothing_and_learning_repeats() -> None:
    truth = torch.rand(1, 1, 40, 48)
    pair = Pair(base=0.8 * truth, extra=truth[:, :0], target=truth)
    options = PairsOptions(iterations=40, channels=8, patch_px=32)
    network, same = (learn([pair], options=options, seed=3) for _ in range(2))
    once, again = (correct(n, pair.base, pair.extra) for n in (network, same))
    assert torch.equal(once, again)
    assert torch.equal(Corrector(1, 0, 8)(pair.base, pair.extra), pair.base)
    assert float((once - truth).square().mean()) < 0.3 * float((pair.base - truth).square().mean())


def test_weights_leave_pixels_out() -> None:
    truth = torch.rand(1, 1, 40, 48)
    wrong = truth.clone()
    wrong[..., :24] += 5
    weight = (torch.arange(48) >= 24).float().expand(1, 1, 40, 48)
    pair = Pair(base=truth, extra=truth[:, :0], target=wrong, weight=weight)
    network = learn([pair], options=PairsOptions(iterations=10, channels=8, patch_px=16), seed=0)
    torch.testing.assert_close(correct(network, truth, truth[:, :0]), truth, atol=0.02, rtol=0)


def test_denoising() -> None:
    truth = scene()
    image = noisy(truth)
    options = PairsOptions(iterations=80, channels=24, draws=2)
    told: list[float] = []
    done = denoise_by_pairs(image, 0.1, options=options, listen=lambda t: told.append(t.share))
    base = np.clip(nlm(image, 0.1), 0, 1)
    assert psnr(base, truth) > psnr(image, truth) + 5
    assert psnr(done, truth) > psnr(image, truth) + 9
    assert told[-1] == 1 and told == sorted(told)


def test_nlm_is_the_plain_one() -> None:
    """A slow twin at a few pixels."""
    image = noisy(scene(), seed=1)[:40, 10:52, :2]
    channels = 2
    sigma, reach = 0.1, 10
    fast = nlm(image, sigma)

    def mirror(index: int, size: int) -> int:
        return size - 1 - abs(size - 1 - abs(index))

    def at(r: int, c: int) -> np.ndarray:
        return image[mirror(r, 40), mirror(c, 42)].astype(np.float64)

    def weight(r: int, c: int, dr: int, dc: int) -> float:
        """Of one centre: its 5 x 5 patch against the moved one; at the border OpenCV mirrors differences."""
        total = 0.0
        for y in range(r - 2, r + 3):
            for x in range(c - 2, c + 3):
                yy, xx = mirror(y, 40), mirror(x, 42)
                total += float(np.square(at(yy, xx) - at(yy + dr, xx + dc)).mean()) / 25
        return float(np.exp(-max(total - 2 * sigma**2, 0) / (0.4 * sigma) ** 2))

    r, c = 20, 21
    values, weights, largest = np.zeros(channels), 0.0, 1e-3
    for dr in range(-reach, reach + 1):
        for dc in range(-reach, reach + 1):
            if (dr, dc) == (0, 0):
                continue
            w = np.mean([weight(r + y, c + x, dr, dc) for y in range(-2, 3) for x in range(-2, 3)])
            values, weights, largest = values + w * at(r + dr, c + dc), weights + w, max(largest, w)
    wanted = (values + largest * at(r, c)) / (weights + largest)
    np.testing.assert_allclose(fast[r, c], wanted, atol=1e-4)


def test_nlm_in_tiles_is_nlm() -> None:
    image = noisy(scene())
    np.testing.assert_allclose(
        nlm_tiled(image, 0.1, 32)[16:-16, 16:-16], nlm(image, 0.1)[16:-16, 16:-16], atol=1e-4
    )


@pytest.mark.parametrize("sigma", [0.01, 0.05, 0.1])
def test_noise_is_measured(sigma: float) -> None:
    assert estimate_sigma(noisy(scene(256, 256), sigma)) == pytest.approx(sigma, rel=0.12)


def test_missing_pixels_are_filled() -> None:
    truth = scene()
    known = np.random.default_rng(0).random(truth.shape[:2]) > 0.5
    known[40:60, 70:100] = False
    filled = fill_missing(np.where(known[..., None], truth, 7), known)
    np.testing.assert_array_equal(filled[known], truth[known])
    assert psnr(filled, truth) > 20 and filled.max() <= 1


def test_thin_plates_are_better_than_triangles() -> None:
    from walkaround.restore.plate import fill_smooth

    rows, columns = np.mgrid[:80, :90]
    truth = np.stack([np.sin(columns / 4) * np.cos(rows / 5), rows / 80], -1).astype(np.float32)
    known = np.random.default_rng(0).random(truth.shape[:2]) > 0.5
    smooth, linear = (fill(truth * known[..., None], known) for fill in (fill_smooth, fill_missing))
    np.testing.assert_array_equal(smooth[known], truth[known])
    assert psnr(smooth, truth) > psnr(linear, truth) + 6
    np.testing.assert_array_equal(fill_smooth(truth, np.ones_like(known)), truth)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_hardly_anything_is_known(count: int) -> None:
    known = np.zeros((20, 31), bool)
    known.flat[:count] = True
    filled = fill_missing(np.full((20, 31, 2), 0.25, np.float32), known)
    assert np.isfinite(filled).all()
    if count:
        np.testing.assert_allclose(filled, 0.25, atol=1e-6)


def test_its_random_numbers_are_no_one_elses() -> None:
    """Noise that a user drew from the same seed was known to the pairs, and five dB were lost."""
    from walkaround.restore.randomness import own_source

    assert not np.allclose(own_source(3).standard_normal(8), np.random.default_rng(3).standard_normal(8))
    assert np.array_equal(own_source(3).standard_normal(8), own_source(3).standard_normal(8))


@pytest.mark.parametrize("size_hw", [(40, 40), (513, 100), (700, 1030)])
def test_tiles_cover_each_pixel_once(size_hw: tuple[int, int]) -> None:
    from walkaround.restore.tiles import tiles

    count, numbers = np.zeros(size_hw, int), np.arange(size_hw[0] * size_hw[1]).reshape(size_hw)
    for tile in tiles(size_hw, halo_px=24, tile_px=256):
        count[tile.target] += 1
        np.testing.assert_array_equal(numbers[tile.outer][tile.inner], numbers[tile.target])
    assert (count == 1).all()


def test_large_pictures_are_learned_from_in_parts() -> None:
    from walkaround.restore.tiles import LEARN_PX, learning_parts

    assert learning_parts((512, 768), 0) == [(slice(0, 512), slice(0, 768))]
    parts = learning_parts((4000, 6000), 0)
    covered = sum((rows.stop - rows.start) * (columns.stop - columns.start) for rows, columns in parts)
    assert LEARN_PX <= covered <= 2 * LEARN_PX
    assert all(rows.start % 8 == 0 and rows.stop <= 4000 and columns.stop <= 6000 for rows, columns in parts)
    assert learning_parts((4000, 6000), 1) != parts


def test_filling_in_tiles_leaves_no_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a slope, which any triangles between pixels keep; those of a grid are not unique."""
    rows, columns = np.mgrid[:150, :160]
    truth = np.stack([rows / 150, (rows + columns) / 400], -1).astype(np.float32)
    known = np.random.default_rng(0).random(truth.shape[:2]) > 0.5
    known[60:90, 70:110] = False
    from walkaround.restore import classical, tiles

    def small(size_hw: tuple[int, int], *, halo_px: int, tile_px: int) -> object:
        return tiles.tiles(size_hw, halo_px=16, tile_px=50)

    monkeypatch.setattr(classical, "tiles", small)
    filled = fill_missing(truth * known[..., None], known)
    np.testing.assert_allclose(filled[8:-8, 8:-8], truth[8:-8, 8:-8], atol=0.02)


def test_wiener_and_shifts_in_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel of no symmetry; blocks that begin where they should."""
    from walkaround.restore import deblur, dejpeg, tiles
    from walkaround.restore.jpeg import Jpeg, tables_of_quality
    from walkaround.restore.operators import Convolution, motion_kernel
    from walkaround.restore.tensors import to_tensor

    blur = Convolution(torch.from_numpy(motion_kernel(7, 30)))
    truth = to_tensor(scene(200, 210))
    y, jpeg = blur(truth), Jpeg(tables_of_quality(20))
    filtered, averaged = deblur._filtered(y, blur, 0.01), dejpeg.average_of_shifts(y, jpeg)
    assert psnr(filtered[0].numpy(), truth.numpy()) > psnr(y.numpy(), truth.numpy()) + 2

    def small(size_hw: tuple[int, int], *, halo_px: int, tile_px: int = 64) -> object:
        return tiles.tiles(size_hw, halo_px=halo_px, tile_px=64)

    monkeypatch.setattr(deblur, "tiles", small)
    monkeypatch.setattr(dejpeg, "tiles", small)
    in_tiles = deblur._filtered_in_tiles(y, blur, 0.01)
    for one, other in zip(in_tiles, filtered, strict=True):
        inside = (..., slice(8, -8), slice(8, -8))
        torch.testing.assert_close(one[inside], other[inside], atol=0.03, rtol=0)
    torch.testing.assert_close(dejpeg._averaged_in_tiles(y, jpeg), averaged, atol=1e-4, rtol=0)


def test_deblurring_in_tiles_leaves_no_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """A long motion's filter reaches further than any halo: pieces must fade into each other."""
    from walkaround.restore import deblur, tiles
    from walkaround.restore.operators import Convolution, motion_kernel
    from walkaround.restore.tensors import to_tensor

    blur = Convolution(torch.from_numpy(motion_kernel(21, 0)))
    texture = np.random.default_rng(1).random((16, 90)).repeat(10, 0).repeat(10, 1)[..., None]
    y = blur(to_tensor(texture.astype(np.float32)))
    y += 2 / 255 * torch.from_numpy(np.random.default_rng(2).standard_normal(y.shape).astype(np.float32))
    whole = deblur._filtered(y, blur, 2 / 255)[0]

    def small(size_hw: tuple[int, int], *, halo_px: int, tile_px: int) -> object:
        return tiles.tiles(size_hw, halo_px=halo_px, tile_px=450)

    monkeypatch.setattr(deblur, "tiles", small)
    difference = (deblur._filtered_in_tiles(y, blur, 2 / 255)[0] - whole).diff(dim=3).abs().mean((0, 1, 2))
    assert float(difference[449]) < 3 * float(difference[300:600].median()) + 1e-4


def test_a_guide_helps_and_keeps_its_colours_to_itself() -> None:
    """The guide has other colours, as under a flash; texture is fine enough to drown in the noise."""
    rows, columns = np.mgrid[:128, :128]
    texture = 0.08 * (np.random.default_rng(7).random((32, 32)) > 0.5).repeat(4, 0).repeat(4, 1)
    truth = np.stack([0.5 + texture, 0.4 + texture + rows / 600, 0.3 + columns / 600], -1).astype(np.float32)
    guide = (0.9 - 2 * texture[..., None]).astype(np.float32)
    image = noisy(truth, 0.15)
    options = PairsOptions(iterations=150, channels=24, draws=2)
    with_guide = denoise_by_pairs(image, 0.15, options=options, guide=guide)
    without = denoise_by_pairs(image, 0.15, options=options)
    assert psnr(with_guide, truth) > psnr(without, truth) + 2
    with pytest.raises(UsageError, match="the same pixels"):
        denoise_by_pairs(image, 0.15, options=options, guide=guide[1:])
