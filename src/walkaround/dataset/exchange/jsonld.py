"""Croissant 1.0, metadata of a dataset as JSON-LD: https://docs.mlcommons.org/croissant/docs/croissant-spec.html

The pieces that a description is made of: files, sets of files by pattern, tables column by column.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from walkaround.dataset.exchange.rows import Column

CONFORMS_TO = "http://mlcommons.org/croissant/1.0"
_TYPES = {
    "VARCHAR": "sc:Text", "VARCHAR[]": "sc:Text", "INTEGER": "sc:Integer", "BIGINT": "sc:Integer",
    "DOUBLE": "sc:Float", "DOUBLE[]": "sc:Float", "BOOLEAN": "sc:Boolean",
}  # fmt: skip
CONTEXT = {
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

FILE_SETS = {
    "images": ("*/*/images/*", "image/jpeg", "Images."),
    "masks": ("*/*/masks/*", "image/png", "Object masks, 8-bit."),
    "depth": ("*/*/depth/*.png", "image/png", "Depth maps, 16-bit, times depth_scale; 0 is unknown."),
}
"""Name -> pattern in the folder of a dataset, media type, what they are."""


def file_object(name: str, path: Path, address: str, kind: str) -> dict[str, Any]:
    """Describe one file with its size and hash.

    Parameters
    ----------
    address
        Where it lies, seen from the description.
    kind
        Its media type.
    """
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "contentUrl": address,
        "contentSize": f"{path.stat().st_size} B",
        "encodingFormat": kind,
        "sha256": digest,
    }


def file_set(name: str, includes: str, kind: str, text: str) -> dict[str, Any]:
    """Describe files by a pattern, seen from the description."""
    return {
        "@type": "cr:FileSet",
        "@id": name,
        "name": name,
        "description": text,
        "encodingFormat": kind,
        "includes": includes,
    }


def record_set(name: str, source: str, columns: Iterable[Column], key: Iterable[str]) -> dict[str, Any]:
    """Describe a table of a Parquet file.

    Parameters
    ----------
    source
        ``@id`` of the file.
    key
        The columns that name a row.
    """
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "key": [{"@id": f"{name}/{column}"} for column in key],
        "field": [_field(name, source, column) for column in columns],
    }


def _field(table: str, source: str, column: Column) -> dict[str, Any]:
    out = {
        "@type": "cr:Field",
        "@id": f"{table}/{column.name}",
        "name": column.name,
        "description": column.text,
        "dataType": _TYPES[column.sql],
        "source": {"fileObject": {"@id": source}, "extract": {"column": column.name}},
    }
    return {**out, "repeated": True} if column.sql.endswith("[]") else out
