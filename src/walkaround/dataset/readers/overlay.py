"""What was repaired of a download, in a tree of its own whose parts readers prefer.

``<root>.repaired/<class>/<instance>/`` holds whole parts (``sparse``, ``masks``, ...) as a sequence of ours
does, and ``repair.json``: ``schema_version`` (1), ``parts`` (those that replace the download's), ``left_out``
(paths of damaged files of the download, which readers then do not show), and what else the repair tells.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from walkaround.dataset.readers.files import FolderFiles, Mount, MountedFiles, SceneFiles, WithoutFiles
from walkaround.dataset.readers.scan import FILES, PARTS
from walkaround.dataset.schema import check_version
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
    if not isinstance(value, dict):
        raise FormatError(f"{path} is no JSON object. Repair again.")
    check_version(value, str(path), known=REPAIR_VERSION, older="Repair again.")
    parts = value.get("parts")
    if not isinstance(parts, list) or not set(parts) <= {*PARTS, *FILES}:
        raise FormatError(f"{path}: parts is {parts!r:.80}, expected some of {', '.join((*PARTS, *FILES))}.")
    left_out = value.get("left_out", [])
    if not isinstance(left_out, list) or not all(isinstance(file, str) for file in left_out):
        raise FormatError(f"{path}: left_out is {left_out!r:.80}, expected a list of files.")
    return value


def with_repairs(files: SceneFiles, folder: Path) -> tuple[SceneFiles, tuple[str, ...]]:
    """Return a scene's files with its folder of an overlay laid over them, and which parts come from there.

    Raises
    ------
    FormatError
        ``repair.json`` is broken.
    """
    value = read_repair(folder)
    if value is None:
        return files, ()
    if value.get("left_out"):
        files = WithoutFiles(files, frozenset(value["left_out"]))
    parts = {part: Mount(FolderFiles(folder), part) for part in value["parts"]}
    return (MountedFiles(files, parts) if parts else files), tuple(parts)
