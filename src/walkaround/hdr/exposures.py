"""Which frame of a clip has which exposure: given, from EXIF or measured; and what contradicts.

Measured means: each frame is laid over the next by a shift, and the ratio of light is the median over the
cells that both expose well. Period, phase and ratio follow from these steps alone, so a moving camera, or a
scene that slowly gets brighter, does no harm. Where frames cannot be laid over each other, the brightness of
whole frames has to do, to a few tenths of an EV.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from walkaround.errors import InputError
from walkaround.hdr.brightness import Steps
from walkaround.types import FloatArray

PERIODS = (2, 3)
_LONGER_PERIODS = (4, 5, 6)
_LEAST_RANGE_EV = 0.5
_FLICKER_EV = 0.05
_CONTRADICTION_EV = 0.6
_LEAST_SURE = 0.3
"""Share of the steps that have to be measured on frames laid over each other."""


@dataclass(frozen=True, kw_only=True)
class Exposures:
    """The exposures of a clip.

    Attributes
    ----------
    ev
        One period in the order of the frames, relative to the shortest: frame i has ``ev[i % period]``.
    origin
        ``given``, ``exif`` (exposure times in the files, also OpenEXR's) or ``frames``.
    measured_ev
        The same as measured on the frames; None when they show too little.
    flicker_ev
        Robust standard deviation of the brightness from one frame to the next beyond the exposures.
    reference
        The phase whose frames are exposed best, 0 to period - 1: what to take where not all are wanted.
    notes
        Sentences for the user.
    """

    ev: tuple[float, ...]
    origin: str
    measured_ev: tuple[float, ...] | None
    flicker_ev: float
    reference: int = 0
    notes: tuple[str, ...] = ()

    @property
    def period(self) -> int:
        """Return the number of exposures."""
        return len(self.ev)

    def exposure(self, frame: int) -> float:
        """Return a frame's exposure relative to the shortest."""
        return float(2.0 ** self.ev[frame % self.period])


def find_exposures(
    steps: Steps, *, given_ev: Sequence[float] | None, exif_ev: Sequence[float | None]
) -> Exposures:
    """Decide about the exposures of a clip.

    Parameters
    ----------
    steps
        Brightness from each frame to the next (:func:`walkaround.hdr.brightness.measure_steps`).
    given_ev
        What the user says, one period; None to find it.
    exif_ev
        log2 of each frame's exposure; empty for a video.

    Raises
    ------
    InputError
        Too few frames, no alternation, an order that breaks, or one that contradicts what was given.
    """
    num_frames = len(steps.ev) + 1
    notes: list[str] = []
    if given_ev is not None:
        _check_count(num_frames, len(given_ev))
        found = _measured(steps, (len(given_ev),))
        _check_given(given_ev, found, steps, notes)
        return _finish(given_ev, "given", steps, found, notes)
    _check_count(num_frames, 2, least=4)
    from_exif = _from_exif(exif_ev, notes)
    if from_exif is not None:
        found = _measured(steps, (len(from_exif),))
        _compare(from_exif, found, steps, notes)
        return _finish(from_exif, "exif", steps, found, notes)
    found = _measured(steps, PERIODS) or _roughly_measured(steps, notes)
    if found is None:
        raise InputError(_why_not(steps))
    return _finish(found, "frames", steps, found, notes)


def _check_count(num_frames: int, period: int, least: int = 0) -> None:
    needed = max(period, least)
    if num_frames < needed:
        raise InputError(
            f"The clip has {num_frames} frame{'s' * (num_frames != 1)}; alternating exposures need at least "
            f"{needed}. Pass a longer clip."
        )


def _measured(steps: Steps, periods: Sequence[int]) -> tuple[float, ...] | None:
    """Return the first period that explains the steps, or None.

    Raises
    ------
    InputError
        It does until a frame is missing, or from there on.
    """
    if not _sure(steps):
        return None
    for period in periods:
        levels = _fitting(steps.ev, period)
        if levels is not None:
            return tuple(float(level) for level in levels)
    for period in periods:
        half = len(steps.ev) // 2 // period * period
        if half < 2 * period:
            continue
        for start in (0, half):
            part = steps.ev[start : start + half]
            levels = _fitting(part, period)
            if levels is not None and np.nanmax(np.abs(_rest(part, levels))) < _CONTRADICTION_EV:
                _raise_order(steps.ev, np.roll(levels, start), from_start=start == 0)
    return None


def _sure(steps: Steps) -> bool:
    """Return whether enough frames could be laid over the next."""
    return bool(np.isfinite(steps.ev).mean() >= _LEAST_SURE)


def _roughly_measured(steps: Steps, notes: list[str]) -> tuple[float, ...] | None:
    """Return what the brightness of whole frames says, with a note, when nothing better was measured."""
    if _sure(steps):
        return None
    for period in PERIODS:
        levels = _fitting(steps.rough_ev, period, tolerance=0.25)
        if levels is not None and np.isfinite(steps.rough_ev).sum() >= max(3, len(steps.ev) // 2):
            notes.append(
                f"{_how_many(steps)}: the exposures were measured on the brightness of whole frames, to a "
                "few tenths of an EV. If you know them, pass --exposures."
            )
            return tuple(round(float(level), 1) for level in levels)
    return None


def _fitting(ev: FloatArray, period: int, tolerance: float = 0.12) -> FloatArray | None:  # (period,)
    """Return the levels of a period that explains the steps."""
    levels = _levels(ev, period)
    if levels is None:
        return None
    span, rest = float(np.ptp(levels)), np.abs(_rest(ev, levels))
    fits = span >= _LEAST_RANGE_EV and np.nanmedian(rest) < max(0.15, tolerance * span)
    wrong = int(np.sum(np.nan_to_num(rest) > max(_CONTRADICTION_EV, 0.4 * span)))
    return levels if fits and wrong <= max(1, len(ev) // 20) else None


def _raise_order(ev: FloatArray, levels: FloatArray, *, from_start: bool) -> None:
    """Say where an order that holds in one half of the clip breaks."""
    wrong = np.nan_to_num(np.abs(_rest(ev, levels))) > max(_CONTRADICTION_EV, 0.4 * float(np.ptp(levels)))
    places = np.flatnonzero(wrong)
    if len(places) == 0:
        return
    frame = int(places[0] if from_start else places[-1]) + 1
    raise InputError(
        f"The exposures alternate, but their order breaks after frame {frame}: a frame is missing or there "
        "twice. Cut the clip there, or pass the part before or after it."
    )


def _levels(ev: FloatArray, period: int) -> FloatArray | None:  # (period,)
    """Return the level of each phase: medians of the steps, closed so that a period ends where it began."""
    phases = [ev[phase::period] for phase in range(period)]
    if any(len(phase) == 0 or not np.isfinite(phase).any() for phase in phases):
        return _open_levels(phases, period)
    medians = np.array([np.nanmedian(phase) for phase in phases])
    medians -= medians.mean()
    levels = np.concatenate([[0.0], np.cumsum(medians)[:-1]])
    return levels - levels.min()


def _open_levels(phases: Sequence[FloatArray], period: int) -> FloatArray | None:
    """Return the levels when only the step from the period's end to its start could not be measured."""
    inner = [np.nanmedian(phase) if np.isfinite(phase).any() else np.nan for phase in phases[: period - 1]]
    if len(inner) < period - 1 or not np.isfinite(inner).all():
        return None
    levels = np.concatenate([[0.0], np.cumsum(inner)])
    return levels - levels.min()


def _rest(ev: FloatArray, levels: FloatArray) -> FloatArray:
    """Return what of each step the levels do not explain; slow drift of the scene is left out."""
    expected = np.array([levels[(i + 1) % len(levels)] - levels[i % len(levels)] for i in range(len(ev))])
    rest = ev - expected
    return rest - np.nanmedian(rest) if np.isfinite(rest).any() else rest


def _disagrees(ev: FloatArray, expected: Sequence[float]) -> bool:
    """Return whether over a third of the steps are others than those that exposures make."""
    levels = np.array(expected)
    steps = np.array([levels[(i + 1) % len(levels)] - levels[i % len(levels)] for i in range(len(ev))])
    gap = np.abs(ev - steps)[np.isfinite(ev)]
    limit = max(_CONTRADICTION_EV, 0.25 * float(np.ptp(levels)))
    return bool(len(gap) and np.mean(gap > limit) > 1 / 3)


def _first_steps(ev: FloatArray) -> str:
    return ", ".join(f"{step:+.1f}" for step in ev[np.isfinite(ev)][:6])


def _check_given(
    given: Sequence[float], found: Sequence[float] | None, steps: Steps, notes: list[str]
) -> None:
    """Compare what the user says with the frames; a note where they cannot tell for sure.

    Raises
    ------
    InputError
        They say something else.
    """
    said = ",".join(f"{ev:g}" for ev in given)
    if found is not None:
        _check_levels(given, found)
        gap = float(np.abs(np.array(given) - min(given) - found).max())
        if gap > max(0.25, 0.1 * float(np.ptp(given))):
            seen = ",".join(f"{ev:.1f}" for ev in found)
            notes.append(
                f"--exposures {said} were taken as given; the frames show {seen} EV. If the result shows "
                "steps of brightness, pass --exposures auto, or another --response."
            )
    elif not _sure(steps):
        if _disagrees(steps.rough_ev, given):
            notes.append(
                f"--exposures {said} may be wrong: whole frames differ from one to the next by "
                f"{_first_steps(steps.rough_ev)} EV. Look at the result."
            )
        elif not np.isfinite(steps.rough_ev).any():
            notes.append("The frames show too little to check --exposures against them.")
    elif _disagrees(steps.ev, given):
        raise InputError(
            f"--exposures {said} do not fit the frames, which differ from one to the next by "
            f"{_first_steps(steps.ev)} EV. Pass --exposures auto, or the right ones."
        )


def _check_levels(given: Sequence[float], found: Sequence[float]) -> None:
    """Raise InputError when the frames have other exposures than the user says."""
    wanted = np.array(given) - min(given)
    gap = float(np.abs(wanted - found).max())
    allowed = max(_CONTRADICTION_EV, 0.2 * float(wanted.max()))
    if gap <= allowed:
        return
    said = ",".join(f"{ev:g}" for ev in given)
    seen = ",".join(f"{ev:.1f}" for ev in found)
    for order in itertools.permutations(given):
        other = np.array(order) - min(order)
        if float(np.abs(other - found).max()) <= allowed:
            right = ",".join(f"{ev:g}" for ev in order)
            raise InputError(
                f"--exposures {said} are in the wrong order: the first frames are {seen} EV brighter than "
                f"the darkest. Pass --exposures {right}, or auto."
            )
    raise InputError(
        f"--exposures {said} do not fit the frames, whose exposures differ by {seen} EV. Pass --exposures "
        "auto, or the right --response if the camera's curve is another."
    )


def _from_exif(exif_ev: Sequence[float | None], notes: list[str]) -> tuple[float, ...] | None:
    """Return one period of exposures from EXIF, or None with a note why not."""
    if not exif_ev:
        return None
    missing = sum(ev is None for ev in exif_ev)
    if missing:
        notes.append(
            f"{missing} of {len(exif_ev)} images carry no exposure time: the exposures were measured "
            "on the frames. If that is wrong, pass --exposures."
        )
        return None
    values = np.array(exif_ev, np.float64)
    for period in PERIODS:
        first = values[:period]
        expected = first[np.arange(len(values)) % period]
        if np.ptp(first) >= _LEAST_RANGE_EV and np.abs(values - expected).max() < 0.1:
            return tuple(float(ev) for ev in first - first.min())
    notes.append("The exposure times in EXIF do not alternate: the exposures were measured on the frames.")
    return None


def _compare(exif: Sequence[float], found: Sequence[float] | None, steps: Steps, notes: list[str]) -> None:
    """Note where the frames say something else than the files."""
    said = ", ".join(f"{ev:.1f}" for ev in exif)
    if found is not None and np.abs(np.array(exif) - found).max() > _CONTRADICTION_EV:
        seen = ", ".join(f"{ev:.1f}" for ev in found)
        notes.append(
            f"EXIF says {said} EV, the frames {seen} EV. If the result shows steps of brightness, try "
            "another --response, or --exposures."
        )
    elif found is None and _sure(steps) and _disagrees(steps.ev, exif):
        notes.append(
            f"EXIF says {said} EV, but the frames differ from one to the next by {_first_steps(steps.ev)} "
            "EV. If the result shows steps of brightness, pass --exposures."
        )


def _finish(
    ev: Sequence[float], origin: str, steps: Steps, found: tuple[float, ...] | None, notes: list[str]
) -> Exposures:
    levels = np.array(ev) - min(ev)
    rest = _rest(steps.ev, np.array(found) if found is not None else levels)
    flicker = float(1.4826 * np.nanmedian(np.abs(rest)) / np.sqrt(2)) if np.isfinite(rest).any() else 0.0
    if flicker > _FLICKER_EV:
        notes.append(
            f"The brightness flickers by {flicker:.2f} EV from frame to frame beyond the exposures, as mains "
            "light does. Film with exposure times that are multiples of 1/100 s (50 Hz) or 1/120 s (60 Hz), "
            "or in daylight."
        )
    num_frames, period = len(steps.ev) + 1, len(levels)
    shares = [float(np.median(steps.well_exposed[phase::period])) for phase in range(period)]
    if num_frames % period:
        notes.append(
            f"{num_frames} frames are no multiple of {period}: the last period is incomplete; its frames "
            "borrow from the period before."
        )
    return Exposures(
        ev=tuple(round(float(level), 3) for level in levels),
        origin=origin,
        measured_ev=None if found is None else tuple(round(level, 3) for level in found),
        flicker_ev=round(flicker, 3),
        reference=int(np.argmax(shares)),
        notes=tuple(notes),
    )


def _how_many(steps: Steps) -> str:
    return (
        f"Only {np.isfinite(steps.ev).sum()} of {len(steps.ev)} pairs of frames could be laid over each "
        "other (they move far, or share few well exposed pixels)"
    )


def _why_not(steps: Steps) -> str:
    """Say why no period of two or three explains the steps."""
    known = steps.ev[np.isfinite(steps.ev)]
    if not _sure(steps):
        seen = _first_steps(steps.rough_ev) or "nothing that can be measured"
        return (
            f"{_how_many(steps)}, too few to measure the exposures; whole frames differ by {seen} EV. If you "
            "know the exposures, pass them: --exposures 0,3 for example."
        )
    typical = float(np.median(np.abs(known)))
    if typical < _LEAST_RANGE_EV:
        return (
            f"The exposures of this clip do not alternate: frames differ by {typical:.2f} EV in the median. "
            "Film with exposures that alternate, or leave HDR out."
        )
    for period in _LONGER_PERIODS:
        levels = _fitting(steps.ev, period)
        if levels is not None and len(steps.ev) >= 2 * period:
            seen = ", ".join(f"{level:.1f}" for level in levels)
            return (
                f"The exposures of this clip repeat after {period} frames ({seen} EV); two or three can be "
                "fused. Pass a folder with the frames of two or three of them, or film with those alone."
            )
    return (
        "The exposures of this clip alternate with no period of 2 or 3: frames differ from one to the next "
        f"by {_first_steps(steps.ev)} EV. Film with two or three exposures in turn, or leave HDR out."
    )
