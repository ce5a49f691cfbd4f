"""One scene by its folder, without the dataset around it."""

from __future__ import annotations

from pathlib import Path

from walkaround.dataset.readers.files import FolderFiles, Mount, MountedFiles, SceneFiles
from walkaround.dataset.readers.overlay import overlay_of, with_repairs
from walkaround.dataset.readers.scan import find_mask_tree
from walkaround.dataset.readers.scene import Scene


def open_folder(folder: Path) -> Scene:
    """Open the folder ``<class>/<instance>`` of one scene of any layout.

    Masks in MVImgNet's separate tree and repairs in an overlay are found as :class:`Dataset` finds them.

    Raises
    ------
    FormatError
        ``repair.json`` is broken.
    """
    folder = folder.resolve()
    root, key = folder.parent.parent, Path(folder.parent.name, folder.name)
    files: SceneFiles = FolderFiles(folder)
    if not root.name:  # beside the top of the file system nothing lies
        return Scene(class_label=folder.parent.name, instance_id=folder.name, files=files)
    if not (folder / "masks").is_dir():
        tree = find_mask_tree(root)
        if tree is not None and (tree / key).is_dir():
            files = MountedFiles(files, {"masks": Mount(FolderFiles(tree / key))})
    files, repaired = with_repairs(files, overlay_of(root) / key)
    return Scene(class_label=folder.parent.name, instance_id=folder.name, files=files, repaired=repaired)
