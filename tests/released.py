"""Small trees in the layouts of the released datasets, for tests of readers, audit, loaders, exports."""

from __future__ import annotations

import zipfile
from pathlib import Path

import cv2
import numpy as np

from tests import fakes
from walkaround.io.colmap import write_sparse_model
from walkaround.io.pointcloud import write_pcd
from walkaround.types import BoolArray, ByteArray


def picture(seed: int) -> tuple[ByteArray, BoolArray]:
    """Return an (H, W, 3) RGB image of a disc and where the disc is."""
    rng = np.random.default_rng(seed)
    image = rng.integers(150, 256, (fakes.HEIGHT, fakes.WIDTH, 3)).astype(np.uint8)
    mask = np.zeros((fakes.HEIGHT, fakes.WIDTH), np.uint8)
    cv2.circle(mask, (fakes.WIDTH // 2, fakes.HEIGHT // 2), 22, 1, -1)
    image[mask > 0] = rng.integers(0, 120, 3)
    return image, mask > 0


def write_scene(
    folder: Path,
    *,
    seed: int = 0,
    cameras: bool = True,
    masks: Path | None = None,
    mask_name: str = "{stem}.png",
) -> None:
    """Write images, cameras (the last image has none) and, into ``masks``, soft masks of one scene."""
    frames = fakes.make_frames()
    (folder / "images").mkdir(parents=True)
    for frame in frames:
        image, mask = picture(seed * 100 + frame.index)
        cv2.imwrite(str(folder / "images" / frame.image), image[..., ::-1])
        if masks is not None:
            masks.mkdir(parents=True, exist_ok=True)
            name = mask_name.format(stem=frame.image[:-4], image=frame.image)
            cv2.imwrite(str(masks / name), np.where(mask, 230, 10).astype(np.uint8))
    (folder / "sparse" / "0").mkdir(parents=True)
    if cameras:
        write_sparse_model(folder / "sparse" / "0", fakes.make_model(frames, seed=seed))


def write_mvimgnet(root: Path, keys: tuple[str, ...] = ("0/0a00b1", "0/0a00b2", "17/0b00c3")) -> Path:
    """Write a tree of MVImgNet, its masks in ``<root>_mask``; return the mask tree."""
    masks = root.with_name(f"{root.name}_mask")
    for number, key in enumerate(keys):
        write_scene(root / key, seed=number, masks=masks / key, mask_name="{image}.png")
    return masks


def write_mvimgnet2(root: Path, keys: tuple[str, ...] = ("240/1a00b1", "301/1a00b2")) -> None:
    """Write a tree of MVImgNet 2.0: masks in the scene's folder."""
    for number, key in enumerate(keys):
        write_scene(root / key, seed=number, masks=root / key / "masks")


def write_mvpnet(root: Path, keys: tuple[str, ...] = ("0/00000050", "99/0a002697")) -> None:
    """Write point clouds as MVPNet does."""
    for number, key in enumerate(keys):
        (root / key).parent.mkdir(parents=True, exist_ok=True)
        write_pcd(root / f"{key}.pcd", fakes.make_cloud(number))


def zip_tree(root: Path, path: Path, *, around: str = "", method: int = zipfile.ZIP_DEFLATED) -> Path:
    """Pack a tree into a zip archive, below the folder ``around`` if one is named."""
    with zipfile.ZipFile(path, "w", method) as archive:
        for file in sorted(root.rglob("*")):
            if file.is_file():
                archive.write(file, str(Path(around) / file.relative_to(root)))
    return path
