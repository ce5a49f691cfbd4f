"""``dataset.json``: the name, licence, classes and first options of a dataset."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from walkaround.dataset.classes import ClassTable
from walkaround.dataset.schema import SCHEMA_VERSION, SequenceRecord, check_text, check_version
from walkaround.errors import FormatError
from walkaround.io.atomic import write_json

DATASET_NAME = "dataset.json"


def read_description(root: Path) -> dict[str, Any] | None:
    """Return what ``dataset.json`` holds; None without one.

    Raises
    ------
    FormatError
        It is no JSON object of this version.
    """
    path = root / DATASET_NAME
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise FormatError(f"{path} is not JSON: {error}. Mend or remove it.") from error
    if not isinstance(value, dict):
        raise FormatError(f"{path} is no JSON object. Mend or remove it.")
    check_version(value, str(path), known=SCHEMA_VERSION, older="Mend or remove it; a build writes it again.")
    check_text(value, str(path))
    classes = value.get("classes", [])
    if not isinstance(classes, list) or not all(isinstance(label, str) for label in classes):
        raise FormatError(f"{path}: classes is {classes!r:.60}, not a list of labels. Mend or remove it.")
    return value


def updated_description(
    value: dict[str, Any] | None, records: Iterable[SequenceRecord], classes: ClassTable | None
) -> dict[str, Any] | None:
    """Return ``value`` with the classes of the table and of the records added.

    Whatever a person wrote into it (name, licence, ...) stays. Without anything to write, None stays None.
    """
    records = list(records)
    if value is None and not records and classes is None:
        return None
    first: dict[str, Any] = {"options": {**records[0].options, "seed": records[0].seed}} if records else {}
    fresh: dict[str, Any] = {
        "name": "walkaround dataset",
        "licence": None,
        "schema_version": SCHEMA_VERSION,
        "classes": [],
    }
    merged = {**fresh, **first, **(value or {})}
    known = merged["classes"]
    labels = classes.labels if classes is not None else ()
    merged["classes"] = list(dict.fromkeys((*known, *labels, *(record.class_label for record in records))))
    if classes is not None and classes.ids:
        merged["class_ids"] = {**class_ids(value), **classes.ids}
    return merged


def update_description(root: Path, records: Iterable[SequenceRecord], classes: ClassTable | None) -> bool:
    """Write ``dataset.json`` when something is new; return whether the ids of classes changed.

    Raises
    ------
    OutputError
        It cannot be written.
    """
    value = read_description(root)
    merged = updated_description(value, records, classes)
    if merged is not None and merged != value:
        write_json(root / DATASET_NAME, merged)
    return class_ids(merged) != class_ids(value)


def class_ids(value: dict[str, Any] | None) -> dict[str, str]:
    """Return label -> id out of ``dataset.json``."""
    found = (value or {}).get("class_ids")
    return {str(label): str(number) for label, number in found.items()} if isinstance(found, dict) else {}
