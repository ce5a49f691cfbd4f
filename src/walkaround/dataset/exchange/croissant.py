"""Croissant 1.0, metadata of a dataset as JSON-LD: https://docs.mlcommons.org/croissant/docs/croissant-spec.html

Two tables, of scenes and of images with their cameras, are written beside it and described column by column;
the files themselves stay where they are and are named by patterns.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from walkaround.dataset.exchange.base import About, Exporter
from walkaround.dataset.exchange.options import ExportOptions
from walkaround.dataset.exchange.rows import (
    FRAME_COLUMNS,
    SCENE_COLUMNS,
    Column,
    frame_rows,
    scene_row,
    write_parquet,
)
from walkaround.dataset.readers import Scene
from walkaround.io.atomic import write_json

_TYPES = {"VARCHAR": "sc:Text", "INTEGER": "sc:Integer", "DOUBLE": "sc:Float", "DOUBLE[]": "sc:Float"}
_CONTEXT = {
    "@language": "en", "@vocab": "https://schema.org/", "citeAs": "cr:citeAs", "column": "cr:column",
    "conformsTo": "dct:conformsTo", "cr": "http://mlcommons.org/croissant/", "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"}, "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/", "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract", "field": "cr:field", "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject", "fileSet": "cr:fileSet", "format": "cr:format", "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset", "jsonPath": "cr:jsonPath", "key": "cr:key", "md5": "cr:md5",
    "parentField": "cr:parentField", "path": "cr:path", "recordSet": "cr:recordSet",
    "references": "cr:references", "regex": "cr:regex", "repeated": "cr:repeated", "replace": "cr:replace",
    "sc": "https://schema.org/", "separator": "cr:separator", "source": "cr:source",
    "subField": "cr:subField", "transform": "cr:transform",
}  # fmt: skip
_FILE_SETS = {
    "images": ("*/*/images/*", "image/jpeg", "Images."),
    "masks": ("*/*/masks/*", "image/png", "Object masks, 8-bit."),
    "depth": ("*/*/depth/*.png", "image/png", "Depth maps, 16-bit, times depth_scale; 0 is unknown."),
}


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
            "@context": _CONTEXT,
            "@type": "sc:Dataset",
            "conformsTo": "http://mlcommons.org/croissant/1.0",
            "name": self.about.name,
            "description": f"Multi-view images of {len(self._scenes)} objects with cameras, masks and depth.",
            "license": self.about.licence or "unknown",
            "version": "1.0.0",
            "citeAs": self.about.name,
            "distribution": [
                *(self._table(name) for name in ("scenes", "frames")),
                *(_file_set(name) for name in _FILE_SETS),
            ],
            "recordSet": [
                _record_set("scenes", SCENE_COLUMNS, ("class_label", "instance_id")),
                _record_set("frames", FRAME_COLUMNS, ("image_path",)),
            ],
        }

    def _table(self, name: str) -> dict[str, Any]:
        data = (self.out / f"{name}.parquet").read_bytes()
        return {
            "@type": "cr:FileObject",
            "@id": f"{name}.parquet",
            "name": f"{name}.parquet",
            "contentUrl": f"{name}.parquet",
            "contentSize": f"{len(data)} B",
            "encodingFormat": "application/x-parquet",
            "sha256": hashlib.sha256(data).hexdigest(),
        }


def _file_set(name: str) -> dict[str, Any]:
    includes, kind, text = _FILE_SETS[name]
    return {
        "@type": "cr:FileSet",
        "@id": name,
        "name": name,
        "description": text,
        "encodingFormat": kind,
        "includes": includes,
    }


def _record_set(name: str, columns: tuple[Column, ...], key: tuple[str, ...]) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "key": [{"@id": f"{name}/{column}"} for column in key],
        "field": [_field(name, column) for column in columns],
    }


def _field(table: str, column: Column) -> dict[str, Any]:
    out = {
        "@type": "cr:Field",
        "@id": f"{table}/{column.name}",
        "name": column.name,
        "description": column.text,
        "dataType": _TYPES[column.sql],
        "source": {"fileObject": {"@id": f"{table}.parquet"}, "extract": {"column": column.name}},
    }
    return {**out, "repeated": True} if column.sql.endswith("[]") else out
