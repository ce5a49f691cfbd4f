"""The findings of an audit as one page with pictures, which needs nothing else."""

from __future__ import annotations

import base64
from html import escape
from pathlib import Path, PurePosixPath

import cv2
import numpy as np

from walkaround.dataset.audit.codes import ACTIONS, KINDS_BY_CODE
from walkaround.dataset.audit.finding import Finding
from walkaround.dataset.audit.summary import Summary
from walkaround.dataset.readers import Dataset, Scene
from walkaround.errors import FormatError
from walkaround.io.atomic import write_bytes
from walkaround.io.image import decode_stored
from walkaround.types import ByteArray

PAGE_NAME = "audit.html"
WIDTH_PX = 240
_OUTLINE_BGR = (120, 45, 255)
_STYLE = (
    "body{font:15px system-ui,'Segoe UI',Roboto,Helvetica,Arial,sans-serif;margin:2em auto;max-width:1120px;"
    "padding:0 1em;color:#1d2430;background:#fff;line-height:1.45}"
    "h1{font-size:26px;margin:0}h2{font-size:18px;margin:2em 0 .2em}p{margin:.2em 0}"
    ".s,figcaption,th{color:#667085}table{border-collapse:collapse;margin:1.2em 0;width:100%}"
    "td,th{text-align:left;padding:.3em .8em .3em 0;border-bottom:1px solid #e3e6ec;vertical-align:top}"
    "th{font-weight:500}.n{text-align:right}code{font:13px ui-monospace,Consolas,monospace}"
    ".p{border-radius:9px;padding:0 .55em;font-size:13px;color:#fff;background:#667085}"
    ".error{background:#c43d51}.warning{background:#a56a00}"
    ".g{display:flex;flex-wrap:wrap;gap:14px;margin:.8em 0}figure{margin:0;width:240px}"
    "figure img{width:240px;border-radius:6px;border:1px solid #e3e6ec;display:block}.none{height:96px;"
    "border:1px dashed #98a1b3;border-radius:6px;display:grid;place-items:center;color:#98a1b3}"
    "figcaption{font-size:12.5px;overflow-wrap:anywhere;margin-top:.3em}a{color:inherit}"
    "@media(prefers-color-scheme:dark){body{background:#14181f;color:#e8eaef}.s,figcaption,th{color:#98a1b3}"
    "td,th{border-color:#333a47}figure img{border-color:#333a47}}"
)


def write_page(path: Path, summary: Summary, dataset: Dataset, *, title: str) -> None:
    """Write the page: a table of codes, then each code with pictures of a few scenes.

    Raises
    ------
    OutputError
        ``path`` cannot be written.
    """
    body = [f"<h1>{escape(title)}</h1>", _headline(summary), _table(summary) if summary.codes else ""]
    body += [_section(code, summary, dataset) for code in summary.codes]
    page = (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>Audit of {escape(title)}</title><style>{_STYLE}</style>{''.join(body)}</html>\n"
    )
    write_bytes(path, page.encode())


def _headline(summary: Summary) -> str:
    bad = summary.num_scenes - summary.num_clean
    said = f"{bad:,} of {summary.num_scenes:,} scenes have faults" if bad else "No faults"
    return (
        f'<p>{said}; {summary.num_images:,} images.</p><p class="s">Masks are outlined in the pictures.</p>'
    )


def _table(summary: Summary) -> str:
    rows = []
    for code in summary.codes:
        kind = KINDS_BY_CODE[code]
        repairs = ACTIONS[kind.repair] if summary.repairable[code] else ACTIONS[""]
        rows.append(
            f'<tr><td><a href="#{code}"><code>{code}</code></a></td>'
            f'<td><span class="p {kind.severity}">{kind.severity}</span></td>'
            f'<td class="n">{summary.scenes[code]:,}</td><td class="n">{summary.files[code]:,}</td>'
            f"<td>{escape(kind.text)}</td>"
            f'<td class="s">{"" if kind.severity == "note" else escape(repairs)}</td></tr>'
        )
    head = (
        '<tr><th>code<th>severity<th class="n">scenes<th class="n">files<th>what it means<th>what repair does'
    )
    return f"<table>{head}{''.join(rows)}</table>"


def _section(code: str, summary: Summary, dataset: Dataset) -> str:
    kind = KINDS_BY_CODE[code]
    figures = "".join(_figure(finding, dataset) for finding in summary.samples[code])
    more = summary.scenes[code] - len(summary.samples[code])
    rest = f'<p class="s">and {more:,} more scenes: see findings.parquet</p>' if more > 0 else ""
    head = f'<h2 id="{code}"><code>{code}</code></h2><p>{escape(kind.text)}</p>'
    return f'{head}<div class="g">{figures}</div>{rest}'


def _figure(finding: Finding, dataset: Dataset) -> str:
    picture = None if finding.code in ("crashed", "broken_record") else _picture(finding, dataset)
    shown = (
        f'<img alt="" src="{_uri(picture)}">' if picture is not None else '<div class="none">no picture</div>'
    )
    more = f" and {finding.count - 1} more" if finding.count > 1 else ""
    said = f"{finding.file}{more}" if finding.file else ""
    parts = [f"<b>{escape(finding.key)}</b>", escape(said), escape(finding.value)]
    caption = "<br>".join(part for part in parts if part)
    return f"<figure>{shown}<figcaption>{caption}</figcaption></figure>"


def _picture(finding: Finding, dataset: Dataset) -> ByteArray | None:
    """Return the still that a finding is about, or the scene's first, with its mask's outline."""
    try:
        scene = dataset[finding.key]
        name = _image_of(finding, scene)
        if name is None:
            return None
        data = decode_stored(scene.image_bytes(name), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        if data is None:
            return None
        size = (WIDTH_PX, max(1, round(data.shape[0] * WIDTH_PX / data.shape[1])))
        small = np.asarray(cv2.resize(data, size, interpolation=cv2.INTER_AREA), np.uint8)
        return _outlined(small, scene, name)
    except (FormatError, KeyError):
        return None


def _image_of(finding: Finding, scene: Scene) -> str | None:
    folder, _, name = finding.file.partition("/")
    if folder == "images":
        return name if name in scene.image_names else None
    if folder == "masks":
        return next((image for image in scene.image_names if scene.mask_name(image) == name), None)
    if folder == "depth":
        stem = PurePosixPath(name).stem
        return next((image for image in scene.image_names if PurePosixPath(image).stem == stem), None)
    return scene.image_names[0] if scene.image_names else None


def _outlined(small: ByteArray, scene: Scene, image: str) -> ByteArray:
    name = scene.mask_name(image)
    values = None if name is None else decode_stored(scene.files.read(f"masks/{name}"), cv2.IMREAD_GRAYSCALE)
    if values is None:
        return small
    mask = cv2.resize(values, (small.shape[1], small.shape[0]), interpolation=cv2.INTER_AREA)
    contours, _ = cv2.findContours((mask > 127).astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(small, contours, -1, _OUTLINE_BGR, 2, cv2.LINE_AA)
    return small


def _uri(image_bgr: ByteArray) -> str:
    _, data = cv2.imencode(".jpg", image_bgr, [cv2.IMWRITE_JPEG_QUALITY, 78, cv2.IMWRITE_JPEG_OPTIMIZE, 1])
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()
