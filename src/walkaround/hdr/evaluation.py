"""HDR video against the truth: scores of frames and clips, and the table that papers print.

The form is that of Chen et al. 2021 (arXiv:2103.14943, tables 1 and 2): a column for each exposure of the
reference, one for all frames, a row for each method.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from walkaround.errors import UsageError
from walkaround.hdr.metrics.curves import PU21_WHITE, mu_law, pu21
from walkaround.hdr.metrics.fidelity import psnr, ssim
from walkaround.hdr.metrics.flicker import flicker
from walkaround.hdr.metrics.hdrvqm import Display, hdr_vqm
from walkaround.hdr.metrics.visible import color_video_vdp, fov_video_vdp
from walkaround.types import Float32Array

FRAME_SCORES = ("psnr_mu", "ssim_mu", "psnr_pu21", "ssim_pu21", "psnr_linear")
CLIP_SCORES = ("hdr_vqm", "color_video_vdp_jod", "fov_video_vdp_jod", "flicker")
CLASSES = {1: ("all",), 2: ("low", "high"), 3: ("low", "middle", "high")}


@dataclass(frozen=True, kw_only=True)
class Viewing:
    """What a radiance of 1 looks like."""

    peak_nits: float = 1000.0
    """Light of radiance 1 in cd/m2, for PU21, HDR-VQM and the visible differences."""
    frame_rate: float = 24.0
    """Frames a second, for HDR-VQM and the visible differences."""


@dataclass(frozen=True, kw_only=True)
class ClipScores:
    """One method on one clip.

    Attributes
    ----------
    frames
        For each frame its class (low, middle, high) and its scores by name.
    clip
        The clip's scores by name; a text says why one was not run.
    """

    name: str
    method: str
    num_exposures: int
    frames: tuple[tuple[str, dict[str, float]], ...]
    clip: dict[str, float | str]


def class_of(exposure: float, exposures: Sequence[float]) -> str:
    """Name an exposure among those of a clip.

    Raises
    ------
    UsageError
        There are more than three exposures.
    """
    levels = sorted(set(exposures))
    if len(levels) not in CLASSES:
        raise UsageError(f"Tables are for one to three exposures; the clip has {len(levels)}.")
    return CLASSES[len(levels)][levels.index(exposure)]


def score_frame(result: Float32Array, truth: Float32Array, viewing: Viewing) -> dict[str, float]:
    """Score one frame (H, W, 3) of radiance; both are clipped to 0..1."""
    one, other = (np.clip(image, 0.0, 1.0) for image in (result, truth))
    shown, wanted = mu_law(one), mu_law(other)
    encoded, target = (pu21(np.asarray(image, np.float64) * viewing.peak_nits) for image in (one, other))
    return {
        "psnr_mu": psnr(shown, wanted, 1.0),
        "ssim_mu": ssim(shown, wanted, 1.0),
        "psnr_pu21": psnr(encoded, target, PU21_WHITE),
        "ssim_pu21": ssim(encoded, target, PU21_WHITE),
        "psnr_linear": psnr(one.astype(np.float64), other.astype(np.float64), 1.0),
    }


def score_clip(
    result: Sequence[Float32Array],
    truth: Sequence[Float32Array],
    *,
    exposures: Sequence[float],
    name: str,
    method: str,
    viewing: Viewing | None = None,
    video: bool = True,
) -> ClipScores:
    """Score a clip.

    Parameters
    ----------
    result, truth
        Frames (H, W, 3) of radiance in time order, 1 saturates the shortest exposure.
    exposures
        Of the reference of each frame.
    video
        Score the clip as a video too; without, only its frames.

    Raises
    ------
    UsageError
        The lengths differ.
    """
    if not len(result) == len(truth) == len(exposures):
        raise UsageError(
            f"{name}: {len(result)} results, {len(truth)} frames of truth and {len(exposures)} exposures; "
            "there must be as many of each."
        )
    shown = viewing or Viewing()
    frames = tuple(
        (class_of(exposure, exposures), score_frame(one, other, shown))
        for one, other, exposure in zip(result, truth, exposures, strict=True)
    )
    return ClipScores(
        name=name,
        method=method,
        num_exposures=len(set(exposures)),
        frames=frames,
        clip=_score_video(result, truth, shown) if video else {},
    )


def _score_video(
    result: Sequence[Float32Array], truth: Sequence[Float32Array], viewing: Viewing
) -> dict[str, float | str]:
    rate, peak = viewing.frame_rate, viewing.peak_nits
    return {
        "hdr_vqm": hdr_vqm(result, truth, frame_rate=rate, display=Display(peak_nits=peak)),
        "color_video_vdp_jod": color_video_vdp(result, truth, frame_rate=rate, peak_nits=peak),
        "fov_video_vdp_jod": fov_video_vdp(result, truth, frame_rate=rate, peak_nits=peak),
        "flicker": flicker(result, truth) if len(truth) > 1 else "not run (one frame)",
    }


Summary = dict[str, dict[str, dict[str, float | str]]]
"""Method -> class or ``all`` -> score -> mean."""


def summarise(scores: Sequence[ClipScores]) -> dict[int, Summary]:
    """Average over frames (of a class, and of all) and over clips; by number of exposures."""
    found: dict[int, Summary] = {}
    for count in sorted({score.num_exposures for score in scores}):
        mine = [score for score in scores if score.num_exposures == count]
        methods = dict.fromkeys(score.method for score in mine)
        found[count] = {
            method: _summarise_method([score for score in mine if score.method == method], count)
            for method in methods
        }
    return found


def _summarise_method(scores: Sequence[ClipScores], count: int) -> dict[str, dict[str, float | str]]:
    rows: dict[str, dict[str, float | str]] = {}
    for wanted in dict.fromkeys((*CLASSES[count], "all")):
        frames = [own for score in scores for name, own in score.frames if wanted in (name, "all")]
        if frames:
            rows[wanted] = {name: float(np.mean([own[name] for own in frames])) for name in FRAME_SCORES}
    for name in CLIP_SCORES:
        values = [score.clip[name] for score in scores if name in score.clip]
        texts = [value for value in values if isinstance(value, str)]
        if texts:
            rows["all"][name] = texts[0]
        elif values:
            rows["all"][name] = float(np.mean([value for value in values if not isinstance(value, str)]))
    return rows


_HEADS = {
    "psnr_mu": ("PSNR-mu", "{:.2f}", 1.0), "ssim_mu": ("SSIM-mu", "{:.4f}", 1.0),
    "psnr_pu21": ("PSNR-PU21", "{:.2f}", 1.0), "ssim_pu21": ("SSIM-PU21", "{:.4f}", 1.0),
    "psnr_linear": ("PSNR-L", "{:.2f}", 1.0), "hdr_vqm": ("HDR-VQM*", "{:.2f}", 100.0),
    "color_video_vdp_jod": ("CVVDP", "{:.3f}", 1.0), "fov_video_vdp_jod": ("FVVDP", "{:.3f}", 1.0),
    "flicker": ("flicker", "{:.2f}", 1.0),
}  # fmt: skip


def format_tables(summaries: dict[int, Summary]) -> str:
    """Lay the summaries out as text: a block for each number of exposures."""
    blocks = []
    for count, methods in summaries.items():
        classes = list(next(iter(methods.values())))
        blocks.append(f"{count} exposures")
        for shown in classes:
            names = [*FRAME_SCORES, *(CLIP_SCORES if shown == "all" else ())]
            rows = [[shown, *(_HEADS[name][0] for name in names)]]
            for method, own in methods.items():
                rows.append([method, *(_cell(name, own.get(shown, {}).get(name)) for name in names)])
            blocks.append(_aligned(rows))
    blocks.append("* 100 is the truth itself; PU21 in place of the paper's PU08.")
    reasons = {
        f"{_HEADS[name][0]}: {value}."
        for methods in summaries.values() for own in methods.values()
        for name, value in own["all"].items() if isinstance(value, str)
    }  # fmt: skip
    return "\n\n".join([*blocks, *sorted(reasons)])


def _cell(name: str, value: float | str | None) -> str:
    if value is None:
        return "-"
    _, layout, factor = _HEADS[name]
    return "not run" if isinstance(value, str) else layout.format(factor * value)


def _aligned(rows: list[list[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))]
        lines.append("  " + "  ".join(cells).rstrip())
    return "\n".join(lines)
