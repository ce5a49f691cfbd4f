"""hdr/: response, alignment and fusion against clips with known radiance."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from tests.hdr_clips import GAMMA, make_clip, psnr_mu
from walkaround.errors import InputError
from walkaround.hdr.alignment import aligned_bracket, as_recorded, find_homography
from walkaround.hdr.clip import Exposed
from walkaround.hdr.fusion import make_fusion, naive_merge
from walkaround.hdr.response import ESTIMATED, estimate_response, known_response
from walkaround.threads import library_threads
from walkaround.types import Float32Array

RESPONSE = known_response("gamma")
TWO, THREE = (1.0, 8.0), (1.0, 4.0, 16.0)


def debevec(window: list[Exposed]) -> Float32Array:
    """Merge a standing bracket with OpenCV's own Debevec and Malik."""
    codes = np.arange(256, dtype=np.float32) / 255
    codes[0] = codes[1] / 2  # its logarithm is taken
    curve = np.repeat((codes**GAMMA)[:, None, None], 3, axis=2)
    pictures = [np.rint(frame.image * 255).astype(np.uint8) for frame in window]
    times = np.array([frame.exposure for frame in window], np.float32)
    return np.asarray(cv2.createMergeDebevec().process(pictures, times, curve), np.float32)


@pytest.mark.parametrize("name", ["srgb", "gamma", "linear"])
def test_a_response_and_back(name: str) -> None:
    response = known_response(name)
    image = np.random.default_rng(0).random((20, 30, 3), np.float32)
    assert np.abs(response.recorded(response.linear(image)) - image).max() < 2e-4
    ends = response.linear(np.array([[[0.0, 0, 0], [1, 1, 1], [2, -1, 0.5]]], np.float32))
    assert np.allclose(ends[0, :2], [[0, 0, 0], [1, 1, 1]]) and ends[0, 2, :2].tolist() == [1, 0]


@pytest.mark.parametrize("method", ESTIMATED)
@pytest.mark.parametrize("step", [0.0, 3.0])
def test_the_response_is_found(method: str, step: float) -> None:
    clip = make_clip(THREE, 5, step=step, moving=False)
    bracket = aligned_bracket(clip.frames, known_response("srgb"))
    found = estimate_response(bracket, method)
    middle = np.linspace(0.1, 0.9, 50)
    expected = np.interp(middle, np.linspace(0, 1, 256), np.linspace(0, 1, 256) ** GAMMA)
    for c in range(3):
        curve = np.interp(middle, np.linspace(0, 1, 256), found.table[:, c])
        assert np.abs(np.log2(curve / expected)).max() < 0.35, "EV from the true curve"


def test_one_exposure_gives_no_response() -> None:
    frame = make_clip((1.0,), 1).frames[0]
    with pytest.raises(InputError, match="from 1 exposure; two are needed"):
        estimate_response([frame, frame], "debevec")


@pytest.mark.parametrize("ratio", [8.0, 16.0])
def test_the_camera_is_followed_across_exposures(ratio: float) -> None:
    clip = make_clip((1.0, ratio), 2, height=240, width=360, step=11.0, moving=False)
    light = [RESPONSE.linear(frame.image) / np.float32(frame.exposure) for frame in clip.frames]
    homography = find_homography(*(as_recorded(radiance, ratio) for radiance in light))
    centre = cv2.perspectiveTransform(np.array([[[180.0, 120.0]]]), homography)[0, 0]
    assert np.abs(centre - [169.0, 118.35]).max() < 0.3


@pytest.mark.parametrize("exposures", [TWO, THREE])
def test_fusion_beats_naive_merging_by_4_db(exposures: tuple[float, ...]) -> None:
    clip = make_clip(exposures, 7, noise=0.002)
    for index in range(2, 2 + len(exposures)):
        fused = psnr_mu(make_fusion(RESPONSE)(clip.window(index)).radiance, clip.truth[index])
        naive = psnr_mu(naive_merge(RESPONSE)(clip.window(index)).radiance, clip.truth[index])
        assert fused > naive + 4 and fused > 36, (index, fused, naive)


@pytest.mark.parametrize("exposures", [TWO, THREE])
def test_a_static_scene_is_the_brackets_debevec_merge(exposures: tuple[float, ...]) -> None:
    clip = make_clip(exposures, 7, step=0.0, moving=False)
    for index in range(2, 2 + len(exposures)):
        fused = make_fusion(RESPONSE)(clip.window(index))
        assert psnr_mu(fused.radiance, debevec(clip.window(index))) > 45
        assert fused.confidence.mean() > 0.9


@pytest.mark.parametrize("exposures", [TWO, THREE])
def test_without_saturation_the_radiance_comes_back(exposures: tuple[float, ...]) -> None:
    clip = make_clip(exposures, 7, peak=0.95 / max(exposures))
    for index in range(2, 2 + len(exposures)):
        fused = make_fusion(RESPONSE)(clip.window(index))
        assert psnr_mu(fused.radiance, clip.truth[index]) > 40


def test_what_only_a_neighbour_shows_leaves_no_ghost() -> None:
    """A thing that jumps in for one frame is not to be seen in the next."""
    clip = make_clip(TWO, 5, step=0.0, moving=False, peak=0.1)
    window = clip.window(2)
    image = window[0].image.copy()
    image[60:100, 100:160] = 0.9
    fused = make_fusion(RESPONSE)([Exposed(image=image, exposure=window[0].exposure), *window[1:]])
    inside = np.s_[60:100, 100:160]
    assert psnr_mu(fused.radiance[inside], clip.truth[2][inside]) > 38
    assert np.isfinite(fused.radiance).all() and fused.radiance.min() >= 0


def test_highlights_come_from_the_shorter_neighbours() -> None:
    clip = make_clip(TWO, 5, step=2.0)
    saturated = (clip.frames[3].image >= 1).all(axis=2)
    assert saturated.mean() > 0.1
    fused = make_fusion(RESPONSE)(clip.window(3)).radiance
    error = np.abs(fused[saturated] / clip.truth[3][saturated] - 1)
    assert np.median(error) < 0.03
    assert (fused[saturated] >= 0.99 / 8).all(), "a saturated pixel is at least as bright as it says"


def test_what_saturates_everything_keeps_its_brightest_word() -> None:
    white = np.ones((40, 60, 3), np.float32)
    window = [Exposed(image=white, exposure=e) for e in (1.0, 8.0, 1.0)]
    fused = make_fusion(RESPONSE)(window)
    assert np.allclose(fused.radiance, 1.0, atol=1e-3) and fused.confidence.max() < 0.01


def test_threads_do_not_change_the_result() -> None:
    window = make_clip(THREE, 5, height=300, width=200).frames
    found = []
    for threads in (1, 3):
        with library_threads(threads):
            found.append(make_fusion(RESPONSE)(window))
    assert np.array_equal(found[0].radiance, found[1].radiance)
    assert np.array_equal(found[0].confidence, found[1].confidence)


def test_small_motion_maps_serve_large_frames() -> None:
    from walkaround.hdr.fusion import FusionOptions

    clip = make_clip(TWO, 5, height=240, width=400)
    fused = make_fusion(RESPONSE, FusionOptions(long_side_px=200))(clip.window(3))
    assert fused.radiance.shape == (240, 400, 3) and fused.confidence.shape == (240, 400)
    assert psnr_mu(fused.radiance, clip.truth[3]) > 34


def test_a_window_is_odd_and_of_one_size() -> None:
    frames = make_clip(TWO, 3).frames
    with pytest.raises(InputError, match="window of 2 frames"):
        make_fusion(RESPONSE)(frames[:2])
    small = Exposed(image=frames[0].image[:20], exposure=1.0)
    with pytest.raises(InputError, match="of 2 sizes"):
        make_fusion(RESPONSE)([frames[0], frames[1], small])


@pytest.mark.parametrize("leftover", [0, 1, 2])
def test_what_is_left_of_saturated_pixels_gives_no_colour(leftover: int) -> None:
    """The short reference is grey; in the long frames a codec left one channel below white."""
    grey = np.full((64, 96, 3), (0.4 ** (1 / GAMMA)), np.float32)
    white = np.ones_like(grey)
    white[20:40, 30:60, leftover] = 0.85
    window = [Exposed(image=image, exposure=e) for image, e in ((white, 16.0), (grey, 1.0), (white, 16.0))]
    radiance = make_fusion(RESPONSE)(window).radiance
    chroma = (radiance.max(axis=2) - radiance.min(axis=2)) / radiance.max(axis=2)
    assert chroma.max() < 0.05, "the reference knows its colour"
