"""The inverse of packing: every file under its name again, with the same bytes."""

from __future__ import annotations

import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from walkaround.dataset.readers.files import SceneFiles
from walkaround.dataset.shards.layout import DESCRIPTION_NAME, ROOT_FOLDER, Head
from walkaround.dataset.shards.read import ShardFiles, Shards
from walkaround.errors import FormatError, UsageError
from walkaround.io.atomic import output_error, write_bytes
from walkaround.types import Progress, no_progress

_MARKER = ".unshard.json"
_SCRATCH = ".unshard"
_CLOUD = "cloud.pcd"


@dataclass(frozen=True, kw_only=True)
class Unpacked:
    """What was written."""

    num_scenes: int
    num_files: int


def unpack_shards(shards: Path | str, root: Path, *, progress: Progress = no_progress) -> Unpacked:
    """Write the files of all scenes to ``root/<class>/<instance>``; a second run continues a killed one.

    A scene appears when it is complete. Of a download, MVPNet's clouds are ``<class>/<instance>.pcd`` again;
    masks that had a tree of their own lie beside the images, as in MVImgNet 2.0.

    Parameters
    ----------
    shards
        What ``walkaround shard`` wrote, packed without ``--resize``.
    root
        A folder: new, empty, or of a run that was cut off.

    Raises
    ------
    UsageError
        ``root`` holds something else, or the shards hold resized images.
    FormatError
        A shard is missing or damaged.
    OutputError
        ``root`` cannot be written.
    """
    packed = Shards(shards)
    if packed.description.get("options", {}).get("resize") is not None:
        raise UsageError(
            f"{packed.root} holds images resized for training, of which the originals cannot be made. Unshard"
            " what was packed without --resize."
        )
    marker = packed.place.read_all(DESCRIPTION_NAME)
    _prepare(root, marker)
    released = packed.description.get("layout") != "walkaround"
    num_files = 0
    for number in range(len(packed)):
        progress(number / len(packed))
        num_files += _write_scene(packed.files(number), root, released=released)
    num_files += _write_root_files(packed, root)
    with suppress(OSError):
        shutil.rmtree(root / _SCRATCH)
    (root / _MARKER).unlink()
    progress(1.0)
    return Unpacked(num_scenes=len(packed), num_files=num_files)


def _prepare(root: Path, marker: bytes) -> None:
    """See that ``root`` is empty or holds the beginning of the same; mark it."""
    try:
        present = sorted(path.name for path in root.iterdir()) if root.exists() else []
        if present and not ((root / _MARKER).is_file() and (root / _MARKER).read_bytes() == marker):
            raise UsageError(f"{root} holds other files ({present[0]}, ...). Choose an empty folder.")
        if (root / _SCRATCH).exists():
            shutil.rmtree(root / _SCRATCH)
    except OSError as error:
        raise output_error(root, error) from error
    write_bytes(root / _MARKER, marker)


def _write_scene(files: ShardFiles, root: Path, *, released: bool) -> int:
    """Write one scene, checked, beside its place and rename it; return its number of files."""
    head = files.head
    folder = _folder(root, head, files)
    cloud = folder.with_name(f"{folder.name}.pcd") if released and files.size(_CLOUD) is not None else None
    inside = [file.path for file in head.files if cloud is None or file.path != _CLOUD]
    try:
        if inside and not folder.is_dir():
            scratch = root / _SCRATCH / "scene"
            for path in inside:
                target = scratch / _checked(path, files)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(files.read_checked(path))
            folder.parent.mkdir(parents=True, exist_ok=True)
            scratch.rename(folder)
        if cloud is not None and not cloud.exists():
            write_bytes(cloud, files.read_checked(_CLOUD))
    except OSError as error:
        raise output_error(folder, error) from error
    return len(head.files)


def _folder(root: Path, head: Head, files: SceneFiles) -> Path:
    for name in (head.class_label, head.instance_id):
        if name in ("", ".", "..", _SCRATCH, _MARKER) or "/" in name or "\0" in name:
            raise FormatError(f"{files.where('')} has the name {name!r:.60}, which is no folder's.")
    return root / head.class_label / head.instance_id


def _checked(path: str, files: SceneFiles) -> str:
    if path.startswith("/") or "\0" in path or any(piece in ("", ".", "..") for piece in path.split("/")):
        raise FormatError(f"{files.where(path)} leads out of its scene.")
    return path


def _write_root_files(packed: Shards, root: Path) -> int:
    """Write the dataset's own files."""
    names = packed.description.get("root_files", [])
    for name in names:
        if name.startswith("/") or ".." in name.split("/"):
            raise FormatError(
                f"{packed.place.where(DESCRIPTION_NAME)}: {name!r:.80} leads out of the dataset."
            )
        write_bytes(root / name, packed.place.read_all(f"{ROOT_FOLDER}/{name}"))
    return len(names)
