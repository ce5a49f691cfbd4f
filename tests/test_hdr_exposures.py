"""hdr/exposures: period, phase and ratio from the frames of a moving camera, and what contradicts."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from tests.clips import exif_block
from tests.hdr_clips import make_clip
from walkaround.errors import InputError, UsageError
from walkaround.hdr.brightness import Steps, measure_steps
from walkaround.hdr.clip import Exposed
from walkaround.hdr.exposures import find_exposures
from walkaround.hdr.options import HdrOptions
from walkaround.hdr.reading import open_clip
from walkaround.hdr.response import known_response
from walkaround.io.exif import read_exif

RESPONSE = known_response("gamma")


def steps_of(frames: list[Exposed]) -> Steps:
    return measure_steps(((i, frame.image) for i, frame in enumerate(frames)), RESPONSE, len(frames))


def clip_of(exposures: tuple[float, ...], num_frames: int = 12, **more: float) -> list[Exposed]:
    return make_clip(exposures, num_frames, height=160, width=240, **more).frames  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "exposures", [(1.0, 8.0), (8.0, 1.0), (1.0, 2.0), (1.0, 32.0), (1.0, 4.0, 16.0), (4.0, 16.0, 1.0)]
)
@pytest.mark.parametrize("step", [0.0, 4.0])
def test_period_phase_and_ratio_are_found(exposures: tuple[float, ...], step: float) -> None:
    found = find_exposures(steps_of(clip_of(exposures, step=step)), given_ev=None, exif_ev=())
    tolerance = 0.08 if max(exposures) <= 16 else 0.25  # half of this tiny picture moves against the other
    assert np.allclose(found.ev, np.log2(exposures) - np.log2(min(exposures)), atol=tolerance)
    assert found.origin == "frames" and found.flicker_ev < 0.05 and not found.notes


def test_given_exposures_are_checked() -> None:
    steps = steps_of(clip_of((1.0, 8.0)))
    assert find_exposures(steps, given_ev=(-1, 2), exif_ev=()).ev == (0.0, 3.0)
    with pytest.raises(InputError, match=r"wrong order.*Pass --exposures 0,3, or auto"):
        find_exposures(steps, given_ev=(3, 0), exif_ev=())
    with pytest.raises(
        InputError, match=r"0,6 do not fit the frames, whose exposures differ by 0.0,(3.0|2.9) EV"
    ):
        find_exposures(steps, given_ev=(0, 6), exif_ev=())


def test_given_exposures_a_little_off_are_said() -> None:
    steps = steps_of(clip_of((1.0, 8.0)))
    assert not find_exposures(steps, given_ev=(0, 3.1), exif_ev=()).notes
    found = find_exposures(steps, given_ev=(0, 3.5), exif_ev=())
    assert found.ev == (0.0, 3.5) and "taken as given; the frames show 0.0,3.0 EV" in found.notes[0]
    with pytest.raises(InputError, match="0,4 do not fit the frames"):
        find_exposures(steps, given_ev=(0, 4), exif_ev=())


def test_exposures_of_openexr(tmp_path: Path) -> None:
    OpenEXR = pytest.importorskip("OpenEXR")
    grey = np.full((8, 8, 3), 0.5, np.float16)
    for number in range(4):
        header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
        OpenEXR.File(header, {"RGB": grey}).write(str(tmp_path / f"{number}.exr"))
    assert open_clip(tmp_path).exif_ev == (), "nothing is missing that such files usually have"
    for number in range(4):
        header["expTime"] = 0.125 * 4.0 ** (number % 2)
        OpenEXR.File(header, {"RGB": grey}).write(str(tmp_path / f"{number}.exr"))
    assert open_clip(tmp_path).exif_ev == (-3.0, -1.0, -3.0, -1.0)


def test_three_exposures_in_another_order() -> None:
    steps = steps_of(clip_of((4.0, 16.0, 1.0)))
    with pytest.raises(InputError, match=r"Pass --exposures 2,4,0, or auto"):
        find_exposures(steps, given_ev=(0, 2, 4), exif_ev=())


def test_a_clip_that_does_not_alternate() -> None:
    with pytest.raises(InputError, match=r"do not alternate: frames differ by 0.0"):
        find_exposures(steps_of(clip_of((1.0,))), given_ev=None, exif_ev=())


def test_a_period_of_four_is_none() -> None:
    steps = steps_of(clip_of((1.0, 2.0, 4.0, 16.0), 16))
    with pytest.raises(
        InputError, match=re.escape("repeat after 4 frames (0.0, 1.0, 2.0, 4.0 EV)")
    ) as raised:
        find_exposures(steps, given_ev=None, exif_ev=())
    assert "--exposures" not in str(raised.value), "it takes two or three"


def test_exposures_without_a_period() -> None:
    rng = np.random.default_rng(3)
    steps = steps_of(clip_of(tuple(2.0 ** rng.uniform(0, 4, 12))))
    with pytest.raises(InputError, match=r"no period of 2 or 3: frames differ from one to the next by [+-]"):
        find_exposures(steps, given_ev=None, exif_ev=())


def mirrored(exposures: tuple[float, ...], num_frames: int = 16) -> list[Exposed]:
    """Turn and mirror the frames of a clip, so that none can be laid over the next."""
    frames = clip_of(exposures, num_frames)
    ways = [(1, 1), (-1, 1), (1, -1), (-1, -1)]
    return [
        Exposed(
            image=np.ascontiguousarray(frame.image[:: ways[i % 4][0], :: ways[i % 4][1]]),
            exposure=frame.exposure,
        )
        for i, frame in enumerate(frames)
    ]


@pytest.mark.parametrize("exposures", [(1.0, 8.0), (1.0, 4.0, 16.0)])
def test_frames_that_cannot_be_laid_over_each_other(exposures: tuple[float, ...]) -> None:
    """No frame is missing: the order must not be said to break."""
    steps = steps_of(mirrored(exposures))
    assert np.isfinite(steps.ev).mean() < 0.3
    found = find_exposures(steps, given_ev=None, exif_ev=())
    assert np.allclose(found.ev, np.log2(exposures), atol=0.8)
    assert "could be laid over each other" in found.notes[0] and "pass --exposures" in found.notes[0]
    given = np.log2(exposures)
    assert find_exposures(steps, given_ev=given, exif_ev=()).notes[:1] == found.notes[1:2]
    other = find_exposures(steps, given_ev=given[::-1], exif_ev=())
    assert "may be wrong: whole frames differ from one to the next by" in other.notes[0]


def test_what_whole_frames_cannot_tell_names_the_remedy() -> None:
    steps = steps_of(mirrored((1.0,)))
    with pytest.raises(InputError, match=r"Only \d of 15 pairs.*pass them: --exposures 0,3 for example"):
        find_exposures(steps, given_ev=None, exif_ev=())


def test_given_exposures_of_a_clip_that_has_others() -> None:
    for true, given in (((1.0,), (0, 3)), ((1.0, 8.0), (0, 2, 4)), ((1.0, 4.0, 16.0), (0, 2))):
        with pytest.raises(InputError, match=r"do not fit the frames, which differ from one to the next by"):
            find_exposures(steps_of(clip_of(true)), given_ev=given, exif_ev=())


@pytest.mark.parametrize("exposures", [(1.0, 8.0), (1.0, 4.0, 16.0)])
def test_a_missing_frame_is_found(exposures: tuple[float, ...]) -> None:
    frames = clip_of(exposures, 14)
    del frames[7]
    with pytest.raises(InputError, match=r"order breaks after frame (7|8)"):
        find_exposures(steps_of(frames), given_ev=None, exif_ev=())


def test_too_few_frames() -> None:
    with pytest.raises(InputError, match=r"has 3 frames; alternating exposures need at least 4"):
        find_exposures(steps_of(clip_of((1.0, 8.0), 3)), given_ev=None, exif_ev=())
    with pytest.raises(InputError, match=r"has 2 frames.*at least 3"):
        find_exposures(steps_of(clip_of((1.0, 8.0), 2)), given_ev=(0, 1, 2), exif_ev=())


def test_exposures_far_apart_share_little() -> None:
    """Two thirds of a frame is black or white in one of the two."""
    frames = clip_of((1.0, 48.0), 10, step=1.0)
    found = find_exposures(steps_of(frames), given_ev=None, exif_ev=())
    assert np.allclose(found.ev, (0, np.log2(48)), atol=0.35)


def test_an_odd_number_of_frames_is_said() -> None:
    found = find_exposures(steps_of(clip_of((1.0, 8.0), 13)), given_ev=None, exif_ev=())
    assert found.notes == (
        "13 frames are no multiple of 2: the last period is incomplete; its frames borrow from the period "
        "before.",
    )


def test_mains_flicker_is_said() -> None:
    frames = [
        Exposed(image=frame.image * np.float32(1 + 0.07 * np.sin(2.1 * i)), exposure=frame.exposure)
        for i, frame in enumerate(clip_of((1.0, 8.0), 16))
    ]
    found = find_exposures(steps_of(frames), given_ev=None, exif_ev=())
    assert found.flicker_ev > 0.05
    assert any("flickers" in note and "1/100 s" in note for note in found.notes)
    assert np.allclose(found.ev, (0, 3), atol=0.25)


def test_frames_that_show_nothing() -> None:
    black = [Exposed(image=np.zeros((60, 80, 3), np.float32), exposure=1.0) for _ in range(6)]
    with pytest.raises(InputError, match=r"Only 0 of 5 pairs of frames could be laid"):
        find_exposures(steps_of(black), given_ev=None, exif_ev=())
    found = find_exposures(steps_of(black), given_ev=(0, 3), exif_ev=())
    assert found.ev == (0.0, 3.0) and found.measured_ev is None
    assert "too little to check" in found.notes[0]


def test_exif_is_taken_and_compared() -> None:
    steps = steps_of(clip_of((1.0, 8.0)))
    found = find_exposures(steps, given_ev=None, exif_ev=[-9.0, -6.0] * 6)
    assert found.origin == "exif" and found.ev == (0.0, 3.0) and not found.notes
    still = steps_of(clip_of((1.0,)))
    lie = find_exposures(still, given_ev=None, exif_ev=[-9.0, -6.0] * 6)
    assert "EXIF says 0.0, 3.0 EV, but the frames differ from one to the next by" in lie.notes[0]
    other = find_exposures(steps, given_ev=None, exif_ev=[-9.0, -4.0] * 6)
    assert other.ev == (0.0, 5.0) and "EXIF says 0.0, 5.0 EV, the frames 0.0, 3.0 EV" in other.notes[0]


@pytest.mark.parametrize(
    ("evs", "said"),
    [([-9.0, None] * 6, "6 of 12 images carry no exposure time"), ([-9.0] * 12, "in EXIF do not alternate")],
)
def test_missing_exif_falls_back_to_the_frames(evs: list[float | None], said: str) -> None:
    found = find_exposures(steps_of(clip_of((1.0, 8.0))), given_ev=None, exif_ev=evs)
    assert found.origin == "frames" and said in found.notes[0]


@pytest.mark.parametrize("text", ["0", "0,0", "a,b", "0,1,2,3", "", "0,inf", "0,nan"])
def test_exposures_that_make_no_sense(text: str) -> None:
    with pytest.raises(UsageError, match=r"two or three different EV"):
        HdrOptions(exposures=text).check()


def test_exposure_of_exif() -> None:
    assert read_exif(exif_block(1, exposure=(1, 8), order=">")).exposure_ev == -3.0
    assert read_exif(exif_block(1, exposure=(1, 8), speed=400)).exposure_ev == -1.0
    assert read_exif(exif_block(1, exposure=(1, 0))).exposure_ev is None
    assert read_exif(exif_block(1)).exposure_ev is None
