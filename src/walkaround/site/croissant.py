"""The dataset card for machines: Croissant, from the same facts as the page.

The table of sequences is the dataset's own catalogue, described column by column (maps are left out:
Croissant has no type for them). A table of all images is made by ``walkaround export --to croissant``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from walkaround.dataset.exchange.jsonld import (
    CONFORMS_TO,
    CONTEXT,
    FILE_SETS,
    file_object,
    file_set,
    record_set,
)
from walkaround.dataset.exchange.rows import Column
from walkaround.dataset.rows import CATALOG_COLUMNS, CATALOG_NAME
from walkaround.dataset.stats import DatasetStats
from walkaround.site.card import CardFacts, known_limits, sources_text
from walkaround.site.making import counted, listed, steps

_TEXTS = {
    "class_label": "Folder of the class.",
    "class_id": "Id of the class in the table of classes; null without one.",
    "instance_id": "The sequence, unique in the dataset.",
    "status": "accepted, rejected or incomplete: the decision of a person if there is one, else the build's.",
    "reasons": "Codes of missed rules: what rejected the sequence, or what to beware of.",
    "message": "Why it was rejected, in sentences.",
    "built_status": "What the build found.",
    "review": "Decision of a person: accept, reject or relabel; null without one.",
    "review_label": "The class it should have, of relabel.",
    "review_note": "Note of the decision.",
    "review_time": "Time of the decision, UTC, ISO 8601.",
    "licence": "Of this sequence; null is the dataset's.",
    "consent": "Whether the collector agreed; null: nobody asked.",
    "num_frames": "Stills.",
    "num_registered": "Stills with a camera.",
    "num_bytes": "Size of all files.",
    "source_kind": "video or photos.",
    "source_sha256": "Hash of what was filmed.",
    "source_duration_s": "Seconds of video.",
    "seed": "Seed of the build.",
}
_TAKEN = {"url": "url", "version": "version", "citation": "citeAs", "date_published": "datePublished"}
"""Field of ``dataset.json`` that a person may write -> its name here."""
_SPLIT_URLS = {"train": "TrainingSplit", "val": "ValidationSplit", "test": "TestSplit"}


def croissant(
    root: Path,
    stats: DatasetStats,
    facts: CardFacts,
    description: Mapping[str, Any],
    *,
    name: str,
    catalogue: str,
    way_to_root: str,
) -> dict[str, Any]:
    """Return the metadata of a dataset as JSON-LD.

    Parameters
    ----------
    catalogue
        Where the catalogue lies, seen from the file that this goes into.
    way_to_root
        The way from there to the files of the dataset; empty when they do not lie at a fixed place.
    """
    counts = stats.counts
    parts = listed(list(facts.making.parts))
    holds = (
        f"Multi-view images of objects{' with ' + parts if parts else ''}:"
        f" {counted(counts.total, 'sequence')} of {counted(stats.num_classes, 'class', 'classes')},"
        f" {counts.accepted:,} of them accepted; {counted(stats.num_frames, 'frame')}."
    )
    taken = {there: description[here] for here, there in _TAKEN.items() if description.get(here)}
    files = [file_object(CATALOG_NAME, root / CATALOG_NAME, catalogue, "application/x-parquet")]
    tables = [record_set("sequences", CATALOG_NAME, _columns(), ("class_label", "instance_id"))]
    there = {*facts.making.parts, *(["images"] if facts.making.num_stills else [])}
    if way_to_root:
        files += [_split_file(root, way_to_root, split) for split in facts.splits]
        files += [
            file_set(kind, way_to_root + pattern, media, text)
            for kind, (pattern, media, text) in FILE_SETS.items()
            if kind in there
        ]
    if facts.splits:
        tables.append(_splits(facts.splits))
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": CONFORMS_TO,
        "name": name,
        "description": " ".join(filter(None, (str(description.get("description") or ""), holds))),
        "license": str(description.get("licence") or "unknown"),
        "version": "1.0.0",
        "citeAs": name,
        **taken,
        "rai:dataCollection": f"{sources_text(facts)}, of objects.",
        "rai:dataPreprocessingProtocol": [f"{what}: {how}" for what, how in steps(facts.making)],
        "rai:dataLimitations": list(known_limits(stats, facts.making)),
        "distribution": files,
        "recordSet": tables,
    }


def _columns() -> list[Column]:
    return [Column(name=name, sql=CATALOG_COLUMNS[name], text=text) for name, text in _TEXTS.items()]


def _split_file(root: Path, way_to_root: str, split: str) -> dict[str, Any]:
    name = f"splits/{split}.json"
    return file_object(name, root / name, way_to_root + name, "application/json")


def _splits(splits: Mapping[str, int]) -> dict[str, Any]:
    """Describe the splits as the specification has them: a table of their names."""
    kinds = {"name": "sc:Text", "url": "sc:URL", "num_sequences": "sc:Integer"}
    return {
        "@type": "cr:RecordSet",
        "@id": "splits",
        "name": "splits",
        "dataType": "cr:Split",
        "key": [{"@id": "splits/name"}],
        "field": [
            {"@type": "cr:Field", "@id": f"splits/{name}", "name": name, "dataType": kind}
            for name, kind in kinds.items()
        ],
        "data": [
            {
                "splits/name": split,
                "splits/url": f"http://mlcommons.org/croissant/{_SPLIT_URLS.get(split, 'Split')}",
                "splits/num_sequences": count,
            }
            for split, count in splits.items()
        ],
    }
