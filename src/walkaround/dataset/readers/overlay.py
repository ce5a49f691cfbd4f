"""What was repaired of a download, in a tree of its own whose parts readers prefer.

``<root>.repaired/<class>/<instance>/`` holds whole parts (``sparse``, ``masks``, ...) as a sequence of ours
does, and ``repair.json``: ``schema_version`` (1), ``parts`` (those that replace the download's), and what
else the repair wants to tell.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from walkaround.dataset.readers.files import FolderFiles, Mount
from walkaround.dataset.readers.scan import FILES, PARTS
from walkaround.errors import FormatError

REPAIR_NAME = "repair.json"
REPAIR_VERSION = 1


def overlay_of(root: Path) -> Path:
    """Return where the repairs of a download lie unless another place is given."""
    return root.with_name(f"{root.name}.repaired")


def read_repair(folder: Path) -> dict[str, Any] | None:
    """Return what ``repair.json`` in a scene's folder of an overlay holds; None without one.

    Raises
    ------
    FormatError
        It is broken, or of another version.
    """
    path = folder / REPAIR_NAME
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise FormatError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(value, dict) or value.get("schema_version") != REPAIR_VERSION:
        raise FormatError(
            f"{path} has no schema_version {REPAIR_VERSION}. Repair again, or upgrade walkaround."
        )
    parts = value.get("parts")
    if not isinstance(parts, list) or not set(parts) <= {*PARTS, *FILES}:
        raise FormatError(f"{path}: parts is {parts!r:.80}, expected some of {', '.join((*PARTS, *FILES))}.")
    return value


def repaired_parts(folder: Path) -> dict[str, Mount]:
    """Return what to mount over a scene, from its folder of an overlay; empty when it was not repaired.

    Raises
    ------
    FormatError
        ``repair.json`` is broken.
    """
    value = read_repair(folder)
    return {part: Mount(FolderFiles(folder), part) for part in value["parts"]} if value else {}
