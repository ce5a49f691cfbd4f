"""``report.html``: one self-contained page a sequence, for a person to look at."""

from __future__ import annotations

import html
from pathlib import Path

from walkaround.dataset.schema import read_record
from walkaround.io.atomic import write_bytes


def write_report(sequence_dir: Path, path: Path | None = None) -> Path:
    """Write the page from nothing but the files of the sequence folder."""
    record = read_record(sequence_dir)
    path = path or sequence_dir / "report.html"
    write_bytes(path, f"<!doctype html><p>{html.escape(record.status)}</p>\n".encode())
    return path
