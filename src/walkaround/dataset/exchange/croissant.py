"""Croissant 1.0, metadata of a dataset as JSON-LD: https://docs.mlcommons.org/croissant/docs/croissant-spec.html

Two tables, of scenes and of images with their cameras, are written beside it and described column by column;
the files themselves stay where they are and are named by patterns.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from walkaround.dataset.exchange.base import About, Exporter
from walkaround.dataset.exchange.jsonld import (
    CONFORMS_TO,
    CONTEXT,
    FILE_SETS,
    file_object,
    file_set,
    record_set,
)
from walkaround.dataset.exchange.options import ExportOptions
from walkaround.dataset.exchange.rows import (
    FRAME_COLUMNS,
    SCENE_COLUMNS,
    frame_rows,
    scene_row,
    write_parquet,
)
from walkaround.dataset.readers import Scene
from walkaround.io.atomic import write_json


class CroissantExporter(Exporter):
    """``croissant.json``, ``scenes.parquet``, ``frames.parquet``; usually into the dataset's own folder."""

    one_dataset = True
    needs_cameras = False
    beside = True

    def __init__(self, out: Path, options: ExportOptions, about: About) -> None:
        super().__init__(out, options, about)
        self._scenes: list[dict[str, Any]] = []
        self._frames: list[dict[str, Any]] = []

    def add(self, scene: Scene, folder: Path) -> None:
        self._scenes.append(scene_row(scene, self.about.split_of.get(scene.key)))
        self._frames.extend(frame_rows(scene))

    def finish(self) -> None:
        for name, rows, columns in (
            ("scenes", self._scenes, SCENE_COLUMNS),
            ("frames", self._frames, FRAME_COLUMNS),
        ):
            write_parquet(self.out / f"{name}.parquet", rows, {c.name: c.sql for c in columns})
        write_json(self.out / "croissant.json", self._metadata())

    def _metadata(self) -> dict[str, Any]:
        return {
            "@context": CONTEXT,
            "@type": "sc:Dataset",
            "conformsTo": CONFORMS_TO,
            "name": self.about.name,
            "description": f"Multi-view images of {len(self._scenes)} objects with cameras, masks and depth.",
            "license": self.about.licence or "unknown",
            "version": "1.0.0",
            "citeAs": self.about.name,
            "distribution": [
                *(self._table(f"{name}.parquet") for name in ("scenes", "frames")),
                *(file_set(name, *described) for name, described in FILE_SETS.items()),
            ],
            "recordSet": [
                record_set("scenes", "scenes.parquet", SCENE_COLUMNS, ("class_label", "instance_id")),
                record_set("frames", "frames.parquet", FRAME_COLUMNS, ("image_path",)),
            ],
        }

    def _table(self, name: str) -> dict[str, Any]:
        return file_object(name, self.out / name, name, "application/x-parquet")
