"""From the path that a person names to the scene, or the dataset, that is shown."""

from __future__ import annotations

from pathlib import Path

from walkaround.dataset.readers.files import FolderFiles, Mount, MountedFiles
from walkaround.dataset.readers.place import open_folder
from walkaround.dataset.readers.scan import FILES, PARTS
from walkaround.dataset.readers.scene import Scene
from walkaround.errors import FormatError

_CLOUD_SUFFIXES = (".pcd", ".ply")


def is_sequence(path: Path) -> bool:
    """True when a path is one scene: a folder with images, cameras or points, or the file of a cloud."""
    if path.is_file():
        return path.suffix.lower() in _CLOUD_SUFFIXES
    return any((path / name).exists() for name in (*PARTS, *FILES))


def open_scene(path: Path) -> Scene:
    """Return the scene in a folder ``<class>/<instance>`` of any layout, or the one of a point cloud's file.

    Masks in MVImgNet's separate tree and repairs in an overlay are found as :class:`Dataset` finds them.

    Raises
    ------
    FormatError
        There is nothing to show.
    """
    if not path.exists():
        raise FormatError(f"{path} does not exist. Name a sequence's folder or the folder of a dataset.")
    if not is_sequence(path):
        raise FormatError(
            f"{path} is no sequence: it has none of {', '.join((*PARTS, *FILES))}, and is no .pcd or .ply"
            " file. Name a sequence's folder."
        )
    path = path.resolve()
    if path.is_file():
        name = f"cloud{path.suffix.lower()}"
        files = MountedFiles(
            FolderFiles(path.parent / path.stem), {name: Mount(FolderFiles(path.parent), path.name)}
        )
        return Scene(class_label=path.parent.name, instance_id=path.stem, files=files)
    return open_folder(path)
