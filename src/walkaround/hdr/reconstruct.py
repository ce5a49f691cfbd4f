"""The tool: a clip of alternating exposures in, a folder of radiance and a tone-mapped video out."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from walkaround import __version__
from walkaround.errors import OutputError, UsageError
from walkaround.hdr.analysis import Analysis, analyse_clip
from walkaround.hdr.fusion import FusionOptions
from walkaround.hdr.methods import METHODS
from walkaround.hdr.options import HdrOptions
from walkaround.hdr.reading import ClipSource, open_clip
from walkaround.hdr.sliding import slide
from walkaround.hdr.tonemapping import fit_curve
from walkaround.io.atomic import write_bytes, write_json
from walkaround.io.locks import locked
from walkaround.io.radiance import import_openexr, read_radiance, write_radiance
from walkaround.io.video_write import write_mp4
from walkaround.types import Float32Array, Progress, no_progress

logger = logging.getLogger(__name__)

RECORD_NAME, VIDEO_NAME = "exposures.json", "tonemapped.mp4"
FORMATS = ("exr", "hdr", "both")
_VERSION = 1
_IMAGES_RATE = 10.0


@dataclass(frozen=True, kw_only=True)
class Reconstruction:
    """What lies in the output folder.

    Attributes
    ----------
    record
        What ``exposures.json`` holds.
    written
        Frames that this run made; the others were there.
    """

    record: dict[str, Any]
    written: int


def reconstruct_clip(
    source: Path,
    out: Path,
    *,
    options: HdrOptions,
    radiance_format: str = "exr",
    frame_rate: float = 0.0,
    overwrite: bool = False,
    progress: tuple[Progress, Progress, Progress] = (no_progress, no_progress, no_progress),
) -> Reconstruction:
    """Turn a clip into ``out/radiance/0001.exr``, ``out/confidence/0001.png``, a video and a record.

    A second call continues what a first one left; frames that are there are not made again.

    Parameters
    ----------
    radiance_format
        ``exr`` (half float), ``hdr`` (Radiance) or ``both``.
    frame_rate
        Of the video; 0 takes that of the clip, 10 for images.
    overwrite
        Replace what was made from another clip or with other options.
    progress
        For the three steps: exposures, fusion, video.

    Raises
    ------
    InputError
        The clip cannot be read or has no alternating exposures.
    UsageError
        An option makes no sense, or ``out`` holds something else and ``overwrite`` is False.
    OutputError
        ``out`` cannot be written.
    InUse
        Another process writes there.
    """
    options.check()
    suffixes = _suffixes(radiance_format, frame_rate)
    clip = open_clip(source)
    message = f"Another walkaround hdr is writing to {out}. Wait until it ends, or stop it."
    with locked(out / ".hdr.lock", wait=False, message=message):
        key = _key(clip, options)
        rate = frame_rate or clip.frame_rate or _IMAGES_RATE
        shown = [key, options.tonemap, options.brightness_ev, round(rate, 3)]
        _clear_temporaries(out)
        old = _read_record(out)
        _prepare(out, old, key, overwrite)
        if old.get("shown") == shown and not _missing(out, old, suffixes) and (out / VIDEO_NAME).is_file():
            logger.info("kept the finished result in %s", out)
            return Reconstruction(record=old, written=0)
        analysis = analyse_clip(clip, options, progress[0])
        record = _record(clip, analysis, options, key)
        write_json(out / RECORD_NAME, record)
        missing = _missing(out, record, suffixes)
        _fuse_all(clip, analysis, options, out, missing, suffixes, progress[1])
        record["tonemap"] = _write_video(out, analysis.num_frames, options, rate, progress[2])
        record["shown"] = shown
        write_json(out / RECORD_NAME, record)
    return Reconstruction(record=record, written=len(missing))


def _suffixes(radiance_format: str, frame_rate: float) -> tuple[str, ...]:
    if radiance_format not in FORMATS:
        raise UsageError(f"--format is {radiance_format!r}; it must be one of {', '.join(FORMATS)}.")
    if not 0 <= frame_rate <= 1000:
        raise UsageError(f"--frame-rate is {frame_rate:g}; it must be 0 to 1000.")
    if radiance_format != "hdr":
        import_openexr("An .exr file")
    return (".exr", ".hdr") if radiance_format == "both" else (f".{radiance_format}",)


def _key(clip: ClipSource, options: HdrOptions) -> str:
    """Hash what the radiance depends on."""
    parts = [_VERSION, clip.sha256, options.exposures, options.response, options.method]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _clear_temporaries(out: Path) -> None:
    """Remove what a killed run had begun to write."""
    for folder in (out, out / "radiance", out / "confidence"):
        for path in folder.glob(".*.tmp.*"):
            path.unlink(missing_ok=True)


def _read_record(out: Path) -> dict[str, Any]:
    """Return the record of an earlier run; empty when there is none, without a key when it is damaged."""
    path = out / RECORD_NAME
    if not path.is_file():
        return {}
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {"key": ""}
    return record if isinstance(record, dict) and "frames" in record else {"key": ""}


def _prepare(out: Path, old: dict[str, Any], key: str, overwrite: bool) -> None:
    """Remove what an earlier run with other inputs left, or refuse to.

    Raises
    ------
    UsageError
        There is something else and ``overwrite`` is False.
    """
    if old.get("key") == key:
        return
    folders = [out / "radiance", out / "confidence"]
    stale = [file for folder in folders if folder.is_dir() for file in folder.glob("[0-9]*.*")]
    if (old or stale) and not overwrite:
        raise UsageError(
            f"{out} holds the result of another clip or of other options. Pass --overwrite to replace it, or "
            "another --out."
        )
    for file in [out / RECORD_NAME, out / VIDEO_NAME, *stale]:
        file.unlink(missing_ok=True)


def _record(clip: ClipSource, analysis: Analysis, options: HdrOptions, key: str) -> dict[str, Any]:
    exposures = analysis.exposures
    frames = [
        {
            "index": index + 1,
            "exposure": exposures.exposure(index),
            "ev": exposures.ev[index % exposures.period],
            "radiance": f"radiance/{index + 1:04d}",
            "confidence": f"confidence/{index + 1:04d}.png",
        }
        for index in range(analysis.num_frames)
    ]
    curve = analysis.response.table
    return {
        "key": key,
        "walkaround": __version__,
        "source_sha256": clip.sha256,
        "options": dataclasses.asdict(options),
        "unit": "radiance 1 saturates the shortest exposure",
        "period": exposures.period,
        "ev": list(exposures.ev),
        "origin": exposures.origin,
        "measured_ev": exposures.measured_ev,
        "flicker_ev": exposures.flicker_ev,
        "response": {
            "name": analysis.response.name,
            "light_at_each_sixteenth": curve[np.linspace(0, len(curve) - 1, 17).astype(int)]
            .round(5)
            .tolist(),
        },
        "notes": list(exposures.notes),
        "frames": frames,
    }


def _missing(out: Path, record: dict[str, Any], suffixes: tuple[str, ...]) -> list[int]:
    """Return the frames of which a file is not there; files come whole or not at all."""
    return [
        index
        for index in range(len(record["frames"]))
        if not all(
            path.is_file() for path in (*_radiance_paths(out, index, suffixes), _confidence(out, index))
        )
    ]


def _fuse_all(
    clip: ClipSource,
    analysis: Analysis,
    options: HdrOptions,
    out: Path,
    missing: list[int],
    suffixes: tuple[str, ...],
    progress: Progress,
) -> None:
    """Write the frames that are missing."""
    if len(missing) < analysis.num_frames:
        logger.info("%d of %d frames were there", analysis.num_frames - len(missing), analysis.num_frames)
    fuse = METHODS[options.method](analysis.response, FusionOptions())
    for done, (index, window) in enumerate(slide(clip, analysis.exposures, missing, analysis.num_frames)):
        fused = fuse(window)
        for path in _radiance_paths(out, index, suffixes):
            write_radiance(path, fused.radiance)
        _write_confidence(_confidence(out, index), fused.confidence)
        progress((done + 1) / len(missing))


def _radiance_paths(out: Path, index: int, suffixes: tuple[str, ...]) -> list[Path]:
    return [out / "radiance" / f"{index + 1:04d}{suffix}" for suffix in suffixes]


def _confidence(out: Path, index: int) -> Path:
    return out / "confidence" / f"{index + 1:04d}.png"


def _write_confidence(path: Path, confidence: Float32Array) -> None:
    ok, data = cv2.imencode(".png", np.rint(np.clip(confidence, 0, 1) * 255).astype(np.uint8))
    if not ok:
        raise OutputError(f"{path} could not be encoded as PNG.")
    write_bytes(path, data.tobytes())


def _write_video(
    out: Path, num_frames: int, options: HdrOptions, frame_rate: float, progress: Progress
) -> dict[str, Any]:
    """Show all frames through one curve; return what it is."""

    def radiances(offset: int) -> Iterator[Float32Array]:
        for index in range(num_frames):
            paths = _radiance_paths(out, index, (".exr", ".hdr"))
            yield read_radiance(next(path for path in paths if path.is_file()))
            progress((offset * num_frames + index + 1) / (2 * num_frames))

    curve = fit_curve(radiances(0), options.tonemap, brightness_ev=options.brightness_ev)
    write_mp4(out / VIDEO_NAME, (curve.picture(radiance) for radiance in radiances(1)), frame_rate=frame_rate)
    return {**dataclasses.asdict(curve), "frame_rate": round(frame_rate, 3)}
