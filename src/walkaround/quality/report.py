"""``report.html``: one self-contained page a sequence, for a person to look at.

The page is written from nothing but the files of the sequence folder, in light and dark, without
scripts. Everything that varies between two identical runs stands in the section ``timings``.
"""

from __future__ import annotations

import importlib.resources
from html import escape
from pathlib import Path

import numpy as np

from walkaround.dataset.schema import FrameRecord
from walkaround.io.atomic import write_bytes
from walkaround.quality import pictures
from walkaround.quality.parts import SequenceParts, read_parts
from walkaround.quality.plan import plan_svg
from walkaround.quality.tables import SCORES_LEAD, head, provenance, score_tables, section, timings
from walkaround.types import ByteArray


def _thumb_px(parts: SequenceParts) -> int:
    """Width of a thumbnail: smaller when there are many, to keep the page light."""
    count = max(len(parts.record.frames), 1)
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
    parts = read_parts(sequence_dir)
    path = path or sequence_dir / "report.html"
    write_bytes(path, _page(parts).encode())
    return path


def _page(parts: SequenceParts) -> str:
    record = parts.record
    style = importlib.resources.files("walkaround.quality").joinpath("report.css").read_text(encoding="utf-8")
    sections = (
        head(record),
        f'<div class="pair">{_cloud_section(parts)}{_plan_section(parts)}</div>',
        _contact_sheet(parts),
        _depth_section(parts),
        section("Scores", score_tables(record), lead=SCORES_LEAD),
        section("Timings", timings(record), identifier="timings"),
        section("Where this comes from", provenance(record)),
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


def _contact_sheet(parts: SequenceParts) -> str:
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
    return section("Frames and masks" if masked else "Frames", _grid(figures, parts), lead=lead)


def _still_figure(parts: SequenceParts, frame: FrameRecord) -> str:
    mask_path = (parts.folder / "masks" / frame.image).with_suffix(".png")
    image = pictures.still(parts.folder / "images" / frame.image, mask_path, _thumb_px(parts))
    time = "" if frame.timestamp_s is None else f"{frame.timestamp_s:.2f} s"
    lost = "cameras" in parts.record.stages and not frame.registered
    note = "not registered" if lost else time
    return _figure(image, Path(frame.image).stem, note, tint="lost" if lost else "")


def _depth_section(parts: SequenceParts) -> str:
    shown = [frame for frame in parts.record.frames if frame.registered]
    folder, scale = parts.folder / "depth", parts.record.depth_scale
    maps = {
        frame.image: pictures.read_depth((folder / frame.image).with_suffix(".png"), scale, _thumb_px(parts))
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
    legend = pictures.depth_legend(limits, "m" if parts.record.metric else "orbit radii")
    lead = "Inverse depth of every registered frame, one scale for all."
    return section("Depth", legend + _grid(figures, parts), lead=lead)


def _cloud_section(parts: SequenceParts) -> str:
    if parts.cloud is None:
        return ""
    figures = []
    front = parts.front_deg
    turns = (0.0, 90.0, 180.0, 270.0)
    for turn, image in zip(turns, pictures.cloud_sides(parts.cloud, [front + t for t in turns]), strict=True):
        caption = f"{turn:.0f}° further" if turn else "from the middle of the cameras"
        figures.append(_figure(image, caption, "", quality=88))
    count = f"{len(parts.cloud.points_in_world):,}".replace(",", "\u202f")
    body = f'<div class="sides">{"".join(figures)}</div>'
    return section(
        "Object", body, lead=f"The fused cloud, {count} points, from four sides, counter-clockwise."
    )


def _plan_section(parts: SequenceParts) -> str:
    if parts.model is None or not parts.model.views:
        return ""
    lead = "From above, the object at the centre. The ring is the arc that the cameras cover."
    return section("Cameras", plan_svg(parts.model, parts.cloud, in_order=parts.in_order), lead=lead)


def _grid(figures: list[str], parts: SequenceParts) -> str:
    return f'<div class="grid" style="--thumb:{_thumb_px(parts) // 2 + 5}px">{"".join(figures)}</div>'


def _figure(image: ByteArray | None, name: str, note: str, *, tint: str = "", quality: int = 80) -> str:
    if image is None:
        picture = '<div class="empty">missing</div>'
    else:
        height, width = image.shape[:2]
        uri = pictures.jpeg_uri(image, quality)
        picture = f'<img src="{uri}" width="{width}" height="{height}" alt="{escape(name)}">'
    caption = f"<figcaption><b>{escape(name)}</b><span>{escape(note)}</span></figcaption>"
    return f'<figure class="{tint}">{picture}{caption}</figure>'
