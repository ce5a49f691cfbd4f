"""Which scenes lie below a folder: in folders or zip archives, masks beside them or in a tree of their own.

Understood, also mixed: ``<class>/<instance>/{images, sparse/0, masks, ...}`` (MVImgNet, MVImgNet 2.0, ours),
masks as ``<class>/<instance>/001.png`` in a mask tree (MVImgNet), ``<class>/<instance>.pcd`` (MVPNet), and
all of these in ``*.zip`` (``mvi_00.zip`` ...), with or without a folder around them.
"""

from __future__ import annotations

import logging
import os
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from walkaround.errors import FormatError
from walkaround.types import Progress, no_progress

logger = logging.getLogger(__name__)

PARTS = ("images", "masks", "sparse", "depth", "confidence")
"""Folders of a scene."""
FILES = ("cloud.ply", "cloud.pcd", "sequence.json", "report.html")
"""Files of a scene."""
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})
PICKLE_SUFFIXES = frozenset({".pkl", ".pickle", ".dat", ".pt", ".pth"})
NOT_CLASSES = frozenset({"splits", "duplicates"})
_SPLIT_FOLDER = re.compile(r"mvi_\d+", re.IGNORECASE)


@dataclass(kw_only=True, slots=True)
class FoundScene:
    """One scene while it is being put together."""

    class_label: str
    """The name of its class's folder: an id in released datasets."""
    instance_id: str
    place: str | None = None
    """Its folder, below the root; None when all of it lies in archives."""
    cloud_place: str | None = None
    """MVPNet's ``<class>/<instance>.pcd``, below the root."""
    masks_place: str | None = None
    """Its folder below the mask tree; None when masks lie in the scene or nowhere."""
    num_images: int = 0
    num_masks: int = 0
    has_cameras: bool = False
    has_depth: bool = False
    has_cloud: bool = False
    members: dict[str, tuple[int, zipfile.ZipInfo]] = field(default_factory=dict)
    """Path in the scene -> number of the archive, and where it lies there."""
    packed_parts: set[str] = field(default_factory=set)
    """First pieces of the members' paths."""

    @property
    def key(self) -> tuple[str, str]:
        return self.class_label, self.instance_id


@dataclass(kw_only=True)
class Scan:
    """What was found."""

    scenes: list[FoundScene]
    """By class (numbers in their order) and instance."""
    archives: list[Path]
    doubled: int = 0
    """Scenes that lie in several places; the first counts."""


def find_mask_tree(root: Path) -> Path | None:
    """Return the mask tree that belongs to a download by its name, ``<root>_mask`` or ``MVImgNet_mask``."""
    folder = root.parent if root.is_file() else root
    names = (root.with_name(f"{root.stem if root.is_file() else root.name}_mask"), folder / "MVImgNet_mask")
    beside = folder.parent / "MVImgNet_mask" if root.is_dir() else folder / "MVImgNet_mask"
    return next((path for path in (*names, beside) if path.is_dir() and path != root), None)


def scan(root: Path, masks: Path | None, progress: Progress = no_progress) -> Scan:
    """Look through the folders and archives of a download; no file of a scene is read.

    Raises
    ------
    FormatError
        An archive is broken, or nothing was found (pickled data is named as the reason).
    """
    found: dict[tuple[str, str], FoundScene] = {}
    result = Scan(scenes=[], archives=[])
    bases, archives = places(root)
    mask_archives = places(masks)[1] if masks is not None else []
    classes = [folder for base in bases for folder in _class_folders(base, masks)]
    steps = len(classes) + 10 * (len(archives) + len(mask_archives)) + 1
    done = 0
    for folder in classes:
        for scene in _scenes_in(folder, root):
            result.doubled += _add(found, scene)
        done += 1
        progress(done / steps)
    for number, path in enumerate((*archives, *mask_archives)):
        result.archives.append(path)
        result.doubled += _read_archive(path, number, found, masks_only=number >= len(archives))
        done += 10
        progress(done / steps)
    for scene in found.values():
        _find_masks(scene, masks)
    result.scenes = sorted(
        found.values(), key=lambda scene: (_class_key(scene.class_label), scene.instance_id)
    )
    if not result.scenes:
        raise _nothing(root)
    if result.doubled:
        logger.warning("%d scenes lie in several places; the first is used.", result.doubled)
    progress(1.0)
    return result


def places(root: Path) -> tuple[list[Path], list[Path]]:
    """Return the folders that hold class folders, and the archives.

    Raises
    ------
    FormatError
        ``root`` is neither a folder nor a zip archive.
    """
    if root.is_file():
        if not zipfile.is_zipfile(root):
            raise FormatError(f"{root} is neither a folder nor a zip archive.")
        return [], [root]
    entries = _entries(root)
    inner = [Path(entry.path) for entry in entries if entry.is_dir() and _SPLIT_FOLDER.fullmatch(entry.name)]
    archives = [Path(entry.path) for entry in entries if entry.is_file() and entry.name.endswith(".zip")]
    return [root, *inner], archives


def _class_folders(base: Path, masks: Path | None) -> list[Path]:
    folders = [Path(entry.path) for entry in _entries(base) if entry.is_dir()]
    return [
        path
        for path in folders
        if path.name not in NOT_CLASSES and not _SPLIT_FOLDER.fullmatch(path.name) and path != masks
    ]


def _scenes_in(folder: Path, root: Path) -> Iterator[FoundScene]:
    """Yield the scenes of one class folder."""
    for entry in _entries(folder):
        name = entry.name
        if entry.is_dir():
            scene = _scene_of(Path(entry.path), folder.name, root)
            if scene is not None:
                yield scene
        elif name.endswith(".pcd"):
            place = Path(entry.path).relative_to(root).as_posix()
            yield FoundScene(
                class_label=folder.name, instance_id=name[:-4], cloud_place=place, has_cloud=True
            )


def _scene_of(folder: Path, label: str, root: Path) -> FoundScene | None:
    inside = {entry.name: entry.is_dir() for entry in _entries(folder)}
    if not (any(inside.get(part) for part in PARTS) or any(name in inside for name in FILES)):
        return None
    return FoundScene(
        class_label=label,
        instance_id=folder.name,
        place=folder.relative_to(root).as_posix(),
        num_images=_count_images(folder / "images") if "images" in inside else 0,
        num_masks=_count_images(folder / "masks") if "masks" in inside else 0,
        has_cameras="sparse" in inside and _has_cameras(folder / "sparse" / "0"),
        has_depth="depth" in inside and _count_images(folder / "depth") > 0,
        has_cloud="cloud.ply" in inside or "cloud.pcd" in inside,
    )


def _find_masks(scene: FoundScene, masks: Path | None) -> None:
    """Look into the mask tree for a scene without masks of its own."""
    if masks is None or scene.num_masks or not masks.is_dir():
        return
    for inner in ("", "masks"):
        place = PurePosixPath(scene.class_label, scene.instance_id, inner)
        count = _count_images(masks / place)
        if count:
            scene.masks_place, scene.num_masks = place.as_posix(), count
            return


def _add(found: dict[tuple[str, str], FoundScene], scene: FoundScene) -> bool:
    """Add a scene; True when it was there already. A cloud of MVPNet joins the scene of MVImgNet."""
    there = found.setdefault(scene.key, scene)
    if there is scene:
        return False
    if there.cloud_place is None and scene.cloud_place is not None:
        there.cloud_place, there.has_cloud = scene.cloud_place, True
        return False
    if there.place is None and there.cloud_place is not None and scene.place is not None:
        scene.cloud_place, scene.has_cloud = there.cloud_place, True
        found[scene.key] = scene
        return False
    return True


def _read_archive(
    path: Path, number: int, found: dict[tuple[str, str], FoundScene], *, masks_only: bool
) -> int:
    """Add what an archive's directory lists; return how many of its scenes were there already."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (OSError, zipfile.BadZipFile, NotImplementedError) as error:
        raise FormatError(f"{path} is not a readable zip archive ({error}). Download it again.") from error
    doubled = set()
    for member in members:
        parsed = None if member.is_dir() else _parsed(member.filename, masks_only=masks_only)
        if parsed is None:
            continue
        label, instance_id, inner = parsed
        scene = found.get((label, instance_id))
        if scene is None:
            if masks_only:
                continue
            scene = found[label, instance_id] = FoundScene(class_label=label, instance_id=instance_id)
        part = inner.partition("/")[0]
        if part not in scene.packed_parts and _in_folder(scene, part):
            doubled.add(scene.key)
        elif inner not in scene.members:
            scene.members[inner] = (number, member)
            scene.packed_parts.add(part)
            _count(scene, part, inner, member)
        elif scene.members[inner][0] != number:
            doubled.add(scene.key)
    return len(doubled)


def _in_folder(scene: FoundScene, part: str) -> bool:
    """True when a folder has the scene, and its masks if it is about masks."""
    return scene.place is not None and (part != "masks" or scene.num_masks > 0)


def _parsed(name: str, *, masks_only: bool) -> tuple[str, str, str] | None:
    """Return class, instance and the path in the scene of a file in an archive."""
    pieces = name.split("/")
    if ".." in pieces or "\\" in name or name.startswith("/") or any(not piece for piece in pieces):
        return None
    if any(piece.startswith((".", "__MACOSX")) for piece in pieces):
        return None
    for at in range(2, len(pieces) - 1):
        if pieces[at] in PARTS:
            return pieces[at - 2], pieces[at - 1], "/".join(pieces[at:])
    if len(pieces) >= 3 and pieces[-1] in FILES:
        return pieces[-3], pieces[-2], pieces[-1]
    if len(pieces) >= 3 and masks_only and PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES:
        return pieces[-3], pieces[-2], f"masks/{pieces[-1]}"
    if len(pieces) >= 2 and name.endswith(".pcd") and not masks_only:
        return pieces[-2], pieces[-1][:-4], "cloud.pcd"
    return None


def _count(scene: FoundScene, part: str, inner: str, member: zipfile.ZipInfo) -> None:
    is_image = PurePosixPath(inner).suffix.lower() in IMAGE_SUFFIXES
    if part == "images" and is_image:
        scene.num_images += 1
    elif part == "masks" and is_image:
        scene.num_masks += 1
    elif inner in ("sparse/0/images.bin", "sparse/0/images.txt"):
        scene.has_cameras = member.file_size > 8
    elif part == "depth":
        scene.has_depth = True
    elif part in ("cloud.ply", "cloud.pcd"):
        scene.has_cloud = True


def _has_cameras(folder: Path) -> bool:
    """True when there are images with poses, by the size of the file."""
    for name in ("images.bin", "images.txt"):
        try:
            if (folder / name).stat().st_size > 8:
                return True
        except OSError:
            continue
    return False


def _count_images(folder: Path) -> int:
    return sum(
        Path(entry.name).suffix.lower() in IMAGE_SUFFIXES for entry in _entries(folder, missing_ok=True)
    )


def _entries(folder: Path, *, missing_ok: bool = False) -> list[os.DirEntry[str]]:
    """Return what lies in a folder, by name, without hidden entries."""
    try:
        with os.scandir(folder) as entries:
            return sorted((e for e in entries if not e.name.startswith(".")), key=lambda e: e.name)
    except OSError as error:
        if missing_ok:
            return []
        raise FormatError(f"{folder} cannot be opened as a folder ({error.strerror}).") from error


def _class_key(label: str) -> tuple[int, int, str]:
    return (0, int(label), label) if label.isascii() and label.isdigit() else (1, 0, label)


def _nothing(root: Path) -> FormatError:
    from walkaround.dataset.rows import is_without_sequences, nothing_built

    if is_without_sequences(root):
        return FormatError(nothing_built(root))
    if root.is_dir():
        for path in (path for pattern in ("*", "*/*", "*/*/*") for path in root.glob(pattern)):
            if path.suffix.lower() in PICKLE_SUFFIXES:
                return FormatError(
                    f"{root} holds pickled data ({path.name}) and no scenes. Reading a pickle runs whatever"
                    " code was put into it, so it is refused. Take MVPNet's point clouds as"
                    " <class>/<instance>.pcd files with the split files of its authors (Dataset.split)."
                )
    return FormatError(
        f"{root} holds no scenes: expected <class>/<instance>/images, <class>/<instance>.pcd, or zip archives"
        " of them."
    )
