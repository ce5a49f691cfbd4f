"""Compare the outputs of two builds: everything but the fields that hold timings."""

from __future__ import annotations

import json
import re
from pathlib import Path

from walkaround.dataset.catalog import read_catalog

_TIMINGS = re.compile(rb'<section id="timings">.*?</section>', re.DOTALL)


def tree(root: Path) -> dict[str, bytes]:
    """Return path -> content of every file under ``root`` (and of empty folders), without timings."""
    return {
        path.relative_to(root).as_posix(): _content(path)
        for path in sorted(root.rglob("*"))
        if path.is_file() or not any(path.iterdir())
    }


def _content(path: Path) -> bytes:
    if path.is_dir():
        return b"folder"
    if path.name == "sequence.json":
        record = json.loads(path.read_text())
        for stage in record["stages"].values():
            del stage["seconds"], stage["cpu_seconds"]
        for outputs in (stage["outputs"] for stage in record["stages"].values()):
            outputs.pop("report.html", None)  # its size varies with the timings
        return json.dumps(record).encode()
    if path.name == "catalog.parquet":
        rows = read_catalog(path.parent)
        for row in rows:
            del row["seconds"], row["cpu_seconds"], row["num_bytes"]  # the size of report.html varies too
        return json.dumps(rows).encode()
    data = path.read_bytes()
    return _TIMINGS.sub(b"", data) if path.name == "report.html" else data
