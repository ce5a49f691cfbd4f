"""``report.html``: one self-contained page a sequence, for a person to look at.

The page is written from nothing but the files of the sequence folder, in light and dark, without
scripts. Everything that varies between two identical runs stands in the section ``timings``.
"""

from __future__ import annotations

import importlib.resources
import logging
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np

from walkaround.dataset.schema import FrameRecord, SequenceRecord, read_record
from walkaround.errors import FormatError
from walkaround.io.atomic import write_bytes
from walkaround.quality import _pictures as pictures
from walkaround.quality._plan import largest_gap_deg, plan_svg
from walkaround.quality._tables import provenance, reasons, score_tables, tiles, timings
from walkaround.types import ByteArray, PointCloud, SparseModel

logger = logging.getLogger(__name__)

_SCORES_LEAD = "What was measured, beside the limits of the table of rules (docs/capture.md)."
_TINTS = {"accepted": "good", "rejected": "bad", "incomplete": "warn"}


@dataclass(frozen=True, kw_only=True)
class _Parts:
    """What the sequence folder holds; None or empty where a stage did not get that far."""

    folder: Path
    record: SequenceRecord
    model: SparseModel | None
    cloud: PointCloud | None

    @property
    def in_order(self) -> bool:
        """True when frames follow each other in time, so that a line through the cameras is a path."""
        cameras = self.record.stages.get("cameras")
        return self.record.source.kind == "video" or bool(cameras and cameras.notes.get("in_order"))

    @property
    def thumb_px(self) -> int:
        """Width of a thumbnail: smaller when there are many, to keep the page light."""
        count = max(len(self.record.frames), 1)
        return 330 if count <= 40 else 240 if count <= 80 else 160


def write_report(sequence_dir: Path, path: Path | None = None) -> Path:
    """Write the report of a sequence and return its path.

    Parameters
    ----------
    sequence_dir
        A sequence folder; parts that are missing (a capture rejected early) are left out.
    path
        Where to write; ``report.html`` in the folder when None.

    Raises
    ------
    FormatError
        ``sequence.json`` is missing or broken.
    OutputError
        The page cannot be written.
    """
    record = read_record(sequence_dir)
    parts = _Parts(
        folder=sequence_dir,
        record=record,
        model=_read_model(sequence_dir),
        cloud=_read_cloud(sequence_dir / "cloud.ply"),
    )
    path = path or sequence_dir / "report.html"
    write_bytes(path, _page(parts).encode())
    return path


def _page(parts: _Parts) -> str:
    record = parts.record
    style = importlib.resources.files("walkaround.quality").joinpath("report.css").read_text(encoding="utf-8")
    sections = (
        _header(record),
        f'<div class="pair">{_cloud_section(parts)}{_plan_section(parts)}</div>',
        _contact_sheet(parts),
        _depth_section(parts),
        _section("Scores", score_tables(record), lead=_SCORES_LEAD),
        _section("Timings", timings(record), identifier="timings"),
        _section("Where this comes from", provenance(record)),
        "<footer>Written by walkaround from the files of this folder alone. Units: the camera's orbit has "
        "radius 1 unless the record says metric.</footer>",
    )
    title = f"{record.class_label} {record.instance_id}: {record.status}"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(part for part in sections if part)
        + "\n</main>\n</body>\n</html>\n"
    )


def _section(title: str, body: str, *, lead: str = "", identifier: str = "") -> str:
    if not body:
        return ""
    name = f' id="{identifier}"' if identifier else ""
    explained = f'<p class="lead">{lead}</p>' if lead else ""
    return f"<section{name}>\n<h2>{escape(title)}</h2>\n{explained}\n{body}\n</section>"


def _header(record: SequenceRecord) -> str:
    source = record.source
    facts = [f"<code>{escape(record.instance_id)}</code>"]
    if source.kind == "video":
        facts.append(
            f"video, {source.duration_s:.1f} s at {source.frame_rate:.4g} frames/s, {escape(source.codec)}"
        )
    else:
        facts.append(f"{source.num_frames} photos")
    facts.append(f"{source.width} × {source.height} px")
    if source.transfer != "srgb":
        facts.append(f"{source.bit_depth} bit {escape(source.transfer).upper()}, converted to sRGB")
    pill = f'<span class="pill {_TINTS[record.status]}">{escape(record.status)}</span>'
    return (
        f'<header><div class="title"><h1>{escape(record.class_label)}</h1>{pill}</div>'
        f'<p class="facts">{" · ".join(facts)}</p>\n{reasons(record)}\n{tiles(record)}</header>'
    )


def _contact_sheet(parts: _Parts) -> str:
    figures = [_still_figure(parts, frame) for frame in parts.record.frames]
    if not figures:
        return ""
    times = any(frame.timestamp_s is not None for frame in parts.record.frames)
    lead = f"Every still that was kept, with its number{' and time' if times else ''}."
    masked = (parts.folder / "masks").is_dir()
    if masked:
        lead += " The outline is the object's mask."
    if "cameras" in parts.record.stages and not all(frame.registered for frame in parts.record.frames):
        lead += " Dashed and grey: no camera could be placed."
    return _section("Frames and masks" if masked else "Frames", _grid(figures, parts), lead=lead)


def _still_figure(parts: _Parts, frame: FrameRecord) -> str:
    mask_path = (parts.folder / "masks" / frame.image).with_suffix(".png")
    image = pictures.still(parts.folder / "images" / frame.image, mask_path, parts.thumb_px)
    time = "" if frame.timestamp_s is None else f"{frame.timestamp_s:.2f} s"
    lost = "cameras" in parts.record.stages and not frame.registered
    note = "not registered" if lost else time
    return _figure(image, Path(frame.image).stem, note, tint="lost" if lost else "")


def _depth_section(parts: _Parts) -> str:
    shown = [frame for frame in parts.record.frames if frame.registered]
    folder, scale = parts.folder / "depth", parts.record.depth_scale
    maps = {
        frame.image: pictures.read_depth((folder / frame.image).with_suffix(".png"), scale, parts.thumb_px)
        for frame in shown
    }
    found = [depth for depth in maps.values() if depth is not None]
    if not found:
        return ""
    limits = pictures.inverse_depth_range(found)
    figures = []
    for name, depth in maps.items():
        image = None if depth is None else pictures.coloured_depth(depth, limits)
        valid = "" if depth is None else f"{100 * np.isfinite(depth).mean():.0f} % valid"
        figures.append(_figure(image, Path(name).stem, valid))
    unit = "m" if parts.record.metric else "orbit radii"
    far = f"{1 / limits[0]:.2f}" if limits[0] > 0 else "far"
    legend = (
        f'<div class="legend"><span>{far} {unit}</span><i style="background:{pictures.colour_scale()}"></i>'
        f"<span>{1 / limits[1]:.2f} {unit}</span><u></u><span>no depth</span></div>"
    )
    lead = "Inverse depth of every registered frame, one scale for all."
    return _section("Depth", legend + _grid(figures, parts), lead=lead)


def _cloud_section(parts: _Parts) -> str:
    if parts.cloud is None or not len(parts.cloud.points_in_world):
        return ""
    figures = []
    front = _front_deg(parts.model)
    turns = (0.0, 90.0, 180.0, 270.0)
    for turn, image in zip(turns, pictures.cloud_sides(parts.cloud, [front + t for t in turns]), strict=True):
        caption = f"{turn:.0f}° further" if turn else "from the middle of the cameras"
        figures.append(_figure(image, caption, "", quality=88))
    count = f"{len(parts.cloud.points_in_world):,}".replace(",", "\u202f")
    body = f'<div class="sides">{"".join(figures)}</div>'
    return _section(
        "Object", body, lead=f"The fused cloud, {count} points, from four sides, counter-clockwise."
    )


def _front_deg(model: SparseModel | None) -> float:
    """Return the azimuth in the middle of the cameras; 0 when they stand all around."""
    if model is None or not model.views:
        return 0.0
    gap, start = largest_gap_deg(np.array([view.centre for view in model.views]))
    return start + gap + (360 - gap) / 2 if gap > 45 else 0.0


def _plan_section(parts: _Parts) -> str:
    if parts.model is None or not parts.model.views:
        return ""
    lead = "From above, the object at the centre. The ring is the arc that the cameras cover."
    return _section("Cameras", plan_svg(parts.model, parts.cloud, in_order=parts.in_order), lead=lead)


def _grid(figures: list[str], parts: _Parts) -> str:
    return f'<div class="grid" style="--thumb:{parts.thumb_px // 2 + 5}px">{"".join(figures)}</div>'


def _figure(image: ByteArray | None, name: str, note: str, *, tint: str = "", quality: int = 80) -> str:
    if image is None:
        picture = '<div class="empty">missing</div>'
    else:
        height, width = image.shape[:2]
        uri = pictures.jpeg_uri(image, quality)
        picture = f'<img src="{uri}" width="{width}" height="{height}" alt="{escape(name)}">'
    caption = f"<figcaption><b>{escape(name)}</b><span>{escape(note)}</span></figcaption>"
    return f'<figure class="{tint}">{picture}{caption}</figure>'


def _read_model(sequence_dir: Path) -> SparseModel | None:
    if not (sequence_dir / "sparse" / "0").is_dir():
        return None
    from walkaround.io.colmap import read_sparse_model

    try:
        return read_sparse_model(sequence_dir / "sparse" / "0")
    except FormatError as error:
        logger.warning("the report shows no cameras: %s", error)
        return None


def _read_cloud(path: Path) -> PointCloud | None:
    if not path.is_file():
        return None
    from walkaround.io.pointcloud import read_ply

    try:
        return read_ply(path)
    except FormatError as error:
        logger.warning("the report shows no cloud: %s", error)
        return None
