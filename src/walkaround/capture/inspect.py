"""Probe a video or a photo folder; nothing is written."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from walkaround.capture.options import CaptureOptions
from walkaround.errors import InputError
from walkaround.io.image import HEIC_SUFFIXES, PHOTO_SUFFIXES, decode_photo, natural_order, read_file
from walkaround.io.video import VideoInfo, probe_video
from walkaround.types import CaptureInfo

logger = logging.getLogger(__name__)


def inspect_capture(source: Path, *, options: CaptureOptions) -> CaptureInfo:
    """Find out what ``source`` is and what it holds.

    Parameters
    ----------
    source
        A video file, or a folder of photos.
    options
        See :class:`CaptureOptions`.

    Returns
    -------
    CaptureInfo
        With the scores ``num_source_frames``, ``duration_s`` (videos) and ``long_side_px``; and
        ``length_share`` of a video that is longer than it may be.

    Raises
    ------
    InputError
        The source is missing, empty, neither a video nor a folder with photos, larger than the options
        allow, or nothing in it decodes.
    """
    if source.is_dir():
        return _inspect_photos(source, options)
    if source.suffix.lower() in PHOTO_SUFFIXES | HEIC_SUFFIXES and source.exists():
        raise InputError(f"{source} is a single photo. Pass a video, or a folder with at least 8 photos.")
    return _inspect_video(source, options)


def _inspect_video(source: Path, options: CaptureOptions) -> CaptureInfo:
    _check_file_size(source, options.max_size_mb)
    info = probe_video(source, max_pixels=options.max_pixels, max_frames=options.max_frames)
    warnings = [_cut_off(info)] if info.cut_off else []
    length = max(info.duration_s / options.max_duration_s, info.num_frames / options.max_frames)
    if length > 1:
        more = "more than " if info.num_frames > options.max_frames else ""
        warnings.append(
            f"The video has {more}{info.num_frames - bool(more)} frames in {info.duration_s:.1f} s; the "
            f"limits are {options.max_frames} frames and {options.max_duration_s:g} s."
        )
    return CaptureInfo(
        kind="video",
        sha256=_file_sha256(source),
        width=info.width,
        height=info.height,
        num_frames=info.num_frames,
        codec=info.codec,
        rotation_deg=info.rotation_deg,
        frame_rate=info.frame_rate,
        variable_frame_rate=info.variable_frame_rate,
        duration_s=info.duration_s,
        bit_depth=info.bit_depth,
        transfer=info.transfer,
        primaries=info.primaries,
        warnings=tuple(warnings),
        scores={
            "num_source_frames": float(info.num_frames),
            "duration_s": info.duration_s,
            "long_side_px": float(max(info.width, info.height)),
            **({"length_share": length} if length > 1 else {}),
        },
    )


def _check_file_size(source: Path, max_size_mb: float) -> None:
    if source.is_file() and source.stat().st_size > max_size_mb * 1e6:
        raise InputError(
            f"{source} has {source.stat().st_size / 1e6:.0f} MB; at most {max_size_mb:g} MB are read. Cut "
            "the video to about ten seconds, or raise --capture.max-size-mb."
        )


def _cut_off(info: VideoInfo) -> str:
    """Say how much of a truncated video is left, as far as its header says what there was."""
    usual = info.promised_s * info.frame_rate  # an AVI's header may count ticks instead of frames
    if info.num_frames < info.promised_frames < 1.25 * usual + 2:
        return f"The video is cut off; {info.num_frames} of its {info.promised_frames} frames can be used."
    if info.promised_s > info.duration_s + 0.1:
        return f"The video is cut off; {info.duration_s:.1f} of its {info.promised_s:.1f} s can be used."
    return f"The video is cut off in its last frame; {info.num_frames} frames can be used."


def _file_sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}). Check its name and rights.") from error


@dataclass(frozen=True, kw_only=True)
class _PhotoFacts:
    path: Path
    sha256: bytes
    size_wh: tuple[int, int]
    rotation_deg: int
    focal_per_diagonal: float | None


def _inspect_photos(source: Path, options: CaptureOptions) -> CaptureInfo:
    paths, warnings = _list_photos(source, options.max_photos)
    with ThreadPoolExecutor(2) as pool:
        found = pool.map(lambda path: _photo_facts(path, options.max_pixels), paths)
        facts = [fact for fact in found if fact is not None]
    lost = len(paths) - len(facts)
    if not facts:
        raise InputError(
            f"None of the {len(paths)} photos in {source} can be read. Export them again as JPEG."
        )
    if lost:
        warnings.append(f"{lost} of {len(paths)} photos could not be read and {_was(lost)} left out.")
    distinct: dict[bytes, _PhotoFacts] = {}
    for fact in facts:
        distinct.setdefault(fact.sha256, fact)
    copies = len(facts) - len(distinct)
    if copies:
        facts = list(distinct.values())
        what = "photo is a copy of another" if copies == 1 else "photos are copies of others"
        warnings.append(f"{copies} {what} and {_was(copies)} left out.")
    width, height = _main_size(facts)
    others = sum(sorted(fact.size_wh) != sorted((width, height)) for fact in facts)
    if others:
        warnings.append(
            f"{others} of {len(facts)} photos {'has' if others == 1 else 'have'} another size than"
            f" {width} x {height}; they were kept, but cropped or zoomed photos hurt the cameras."
        )
    digest = hashlib.sha256(b"".join(fact.sha256 for fact in facts)).hexdigest()
    return CaptureInfo(
        kind="photos",
        sha256=digest,
        width=width,
        height=height,
        num_frames=len(facts),
        codec=Counter(_codec(fact.path) for fact in facts).most_common(1)[0][0],
        rotation_deg=next(f.rotation_deg for f in facts if f.size_wh == (width, height)),
        focal_prior_px=_focal_prior(facts, width, height, warnings),
        photo_paths=tuple(fact.path for fact in facts),
        warnings=tuple(warnings),
        scores={"num_source_frames": float(len(facts)), "long_side_px": float(max(width, height))},
    )


def _list_photos(source: Path, max_photos: int) -> tuple[list[Path], list[str]]:
    try:
        files = [path for path in source.iterdir() if path.is_file() and not path.name.startswith(".")]
    except OSError as error:
        raise InputError(f"{source} cannot be opened ({error.strerror}). Check its rights.") from error
    photos = natural_order(path for path in files if path.suffix.lower() in PHOTO_SUFFIXES)
    heic = sum(path.suffix.lower() in HEIC_SUFFIXES for path in files)
    if not photos and heic:
        raise InputError(
            f"{source} holds {heic} HEIC photos, which cannot be read here. Export them as JPEG."
        )
    if not photos:
        known = ", ".join(sorted(PHOTO_SUFFIXES))
        raise InputError(f"{source} holds no photos ({known}). Pass a video, or a folder with photos in it.")
    warnings: list[str] = []
    if heic:
        warnings.append(f"{heic} HEIC photos were left out; export them as JPEG to use them.")
    if len(photos) > max_photos:
        warnings.append(f"Of {len(photos)} photos, {max_photos} evenly spread ones were kept (max_photos).")
        photos = [photos[i] for i in np.linspace(0, len(photos) - 1, max_photos).round().astype(int)]
    return photos, warnings


def _photo_facts(path: Path, max_pixels: int) -> _PhotoFacts | None:
    """Decode a photo once, to be sure of it; None for a broken one."""
    try:
        data = read_file(path)
        photo = decode_photo(data, str(path), max_pixels=max_pixels)
    except InputError as error:
        logger.warning("%s", error)
        return None
    height, width = photo.image_srgb.shape[:2]
    focal = photo.focal_prior_px
    return _PhotoFacts(
        path=path,
        sha256=hashlib.sha256(data).digest(),
        size_wh=(width, height),
        rotation_deg=photo.rotation_deg,
        focal_per_diagonal=None if focal is None else focal / float(np.hypot(width, height)),
    )


def _main_size(facts: list[_PhotoFacts]) -> tuple[int, int]:
    """Return the most frequent size; of equally frequent ones the larger."""
    counts = Counter(fact.size_wh for fact in facts)
    return max(counts, key=lambda size: (counts[size], size[0] * size[1], size))


def _focal_prior(facts: list[_PhotoFacts], width: int, height: int, warnings: list[str]) -> float | None:
    known = [fact.focal_per_diagonal for fact in facts if fact.focal_per_diagonal is not None]
    if not known:
        return None
    if max(known) > 1.05 * min(known):
        warnings.append("The photos were taken at several focal lengths; the EXIF focal length is not used.")
        return None
    return float(np.median(known)) * float(np.hypot(width, height))


def _codec(path: Path) -> str:
    suffix = path.suffix.lower().lstrip(".")
    return {"jpg": "jpeg", "tif": "tiff"}.get(suffix, suffix)


def _was(count: int) -> str:
    return "was" if count == 1 else "were"
