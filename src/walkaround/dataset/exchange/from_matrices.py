"""Reading projection matrices: 3x4 K [R | t], one an image, or IDR's ``cameras.npz``.

- text: ``<image stem>.txt``, ``.P``, ``.projmatrix`` or ``<image name>.P``, twelve numbers, perhaps after a
  line ``CONTOUR`` (PMVS, Furukawa's data), in the folder of the images or one beside it;
- Middlebury's ``*_par.txt``: a line an image with its name, K, R and t (vision.middlebury.edu/mview/data);
- ``cameras.npz`` with ``world_mat_<i>``, perhaps ``scale_mat_<i>``, i counting the images (arXiv:2003.09852).

What the numbers do not say is where a pixel's centre lies; see ``first_pixel_centre``.
"""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import numpy as np

from walkaround.dataset.exchange.capture import (
    GivenCapture,
    GivenView,
    image_size_wh,
    images_in,
    in_order,
    mask_beside,
    matrix_of,
    pinhole_camera,
)
from walkaround.dataset.exchange.options import ImportOptions
from walkaround.errors import FormatError
from walkaround.types import FloatArray

_IMAGE_PLACES = ("images", "image", "visualize", "rgb", ".")
_MATRIX_PLACES = (
    ".", "txt", "cameras", "cams", "matrices", "projection", "calib", "P", "pmatrix", "images", "image",
)  # fmt: skip
_SUFFIXES = (".txt", ".P", ".p", ".projmatrix", ".camera")
_NPZ_NAMES = ("cameras.npz", "cameras_sphere.npz")
_MAX_TEXT_BYTES = 1 << 20
MAX_SKEW_PX = 0.5
"""How far a skew may move the image's edge; less is left out, more refused."""


def find_matrices(source: Path) -> dict[Path, FloatArray] | None:
    """Return image -> 3x4 matrix as its files say, in their pixels; None when this is no such source.

    Raises
    ------
    FormatError
        A file is broken.
    """
    if source.suffix.lower() == ".npz" or any((source / name).is_file() for name in _NPZ_NAMES):
        return _from_npz(source)
    for place in _IMAGE_PLACES:
        images = images_in(source / place)
        found = _from_par(source, images) or _from_text(source, images)
        if found:
            return found
    return None


def read_matrices(source: Path, options: ImportOptions) -> GivenCapture:
    """Read images with projection matrices.

    Raises
    ------
    FormatError
        There are none, or one is no camera that looks at its image without skew.
    """
    found = find_matrices(source)
    if not found:
        raise FormatError(
            f"{source} holds no images with projection matrices: <image>.txt or .P of twelve numbers, "
            "*_par.txt or cameras.npz."
        )
    shift = 0.5 - float(options.first_pixel_centre)
    folder = next(iter(found)).parent
    folders = tuple(base / name for base in (folder.parent, folder) for name in ("masks", "mask"))
    views, skews = [], [0.0]
    for image, matrix in found.items():
        view, skew = _view(image, matrix, shift, mask_beside(folders, image) if options.masks else None)
        views.append(view)
        skews.append(skew)
    lost = f"The matrices' skew, up to {max(skews):.2g} px, was left out."
    return GivenCapture(
        views=in_order(views),
        others=tuple(path for path in images_in(folder) if path not in found),
        notes={"format": "matrices", "first_pixel_centre": float(options.first_pixel_centre)},
        warnings=(lost,) if max(skews) > 1e-6 else (),
    )


def _view(image: Path, matrix: FloatArray, shift: float, mask: Path | None) -> tuple[GivenView, float]:
    """Return the view of a matrix, moved by ``shift`` pixels, and how far its skew moves the image's edge."""
    size_wh = image_size_wh(image)
    K, cam_from_world = decompose(matrix, str(image))
    skew = float(abs(K[0, 1]) * max(K[1, 2], size_wh[1] - K[1, 2]) / K[1, 1])
    if skew > MAX_SKEW_PX:
        raise FormatError(
            f"The matrix of {image} has a skew that moves its edge by {skew:.3g} px, which no camera model "
            "here has. Warp the images first."
        )
    K[:2, 2] += shift
    camera = pinhole_camera(K, size_wh)
    return GivenView(image=image, camera=camera, cam_from_world=cam_from_world, mask=mask), skew


def decompose(matrix: FloatArray, where: str) -> tuple[FloatArray, FloatArray]:
    """Split a 3x4 projection matrix, of any scale, into K (3x3, skew at [0, 1]) and ``cam_from_world``.

    RQ decomposition with a positive diagonal (Hartley and Zisserman, 2nd ed., 6.2.4); of the two signs of the
    matrix the one without a mirror.

    Raises
    ------
    FormatError
        It is not the matrix of a camera at a finite place.
    """
    from scipy.linalg import rq

    size = float(np.abs(matrix[:, :3]).max())
    determinant = float(np.linalg.det(matrix[:, :3] / size)) if size > 0 else 0.0
    if abs(determinant) < 1e-15:
        raise FormatError(f"The matrix of {where} is singular: it is no camera at a finite place.")
    signed = matrix * np.sign(determinant) / size
    K, rotation = rq(signed[:, :3])
    signs = np.sign(np.diag(K))
    K, rotation = K * signs, signs[:, None] * rotation
    cam_from_world = np.eye(4)
    cam_from_world[:3, :3] = rotation
    cam_from_world[:3, 3] = np.linalg.solve(K, signed[:, 3])
    return np.asarray(K / K[2, 2]), cam_from_world


def _from_text(source: Path, images: tuple[Path, ...]) -> dict[Path, FloatArray]:
    out = {}
    for image in images:
        for path in _candidates(source, image):
            matrix = _read_text(path) if path.is_file() else None
            if matrix is not None:
                out[image] = matrix
                break
    return out


def _candidates(source: Path, image: Path) -> list[Path]:
    folders = dict.fromkeys([image.parent, *(source / place for place in _MATRIX_PLACES)])
    stems = (image.stem, image.name)
    return [folder / f"{stem}{suffix}" for folder in folders for stem in stems for suffix in _SUFFIXES]


def _read_text(path: Path) -> FloatArray | None:
    """Return the twelve (or sixteen: a 4x4) numbers of a file; None when it holds something else."""
    try:
        if path.stat().st_size > _MAX_TEXT_BYTES:
            return None
        words = path.read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return None
    words = words[1:] if words[:1] == ["CONTOUR"] else words
    if len(words) not in (12, 16):
        return None
    try:
        numbers = [float(word.strip(",;[]")) for word in words]
    except ValueError:
        return None
    return matrix_of(numbers, (len(words) // 4, 4), str(path))[:3]


def _from_par(source: Path, images: tuple[Path, ...]) -> dict[Path, FloatArray]:
    """Read Middlebury's ``*_par.txt``: the number of images, then name k11 ... k33 r11 ... r33 t1 t2 t3."""
    by_name = {image.name: image for image in images}
    for path in sorted(source.glob("*_par.txt")):
        if path.stat().st_size > 100 * _MAX_TEXT_BYTES:
            continue
        lines = path.read_text(encoding="ascii", errors="replace").splitlines()
        out = {}
        for line in lines[1:]:
            words = line.split()
            if len(words) != 22 or words[0] not in by_name:
                continue
            try:
                numbers = matrix_of([float(word) for word in words[1:]], (21,), f"{path}: {words[0]}")
            except ValueError as error:
                raise FormatError(f"{path}: the line of {words[0]} is not made of numbers.") from error
            K, rotation, shift = numbers[:9].reshape(3, 3), numbers[9:18].reshape(3, 3), numbers[18:]
            out[by_name[words[0]]] = K @ np.concatenate([rotation, shift[:, None]], axis=1)
        if out:
            return out
    return {}


def _from_npz(source: Path) -> dict[Path, FloatArray]:
    folder = source if source.is_dir() else source.parent
    path = source if source.is_file() else next(source / n for n in _NPZ_NAMES if (source / n).is_file())
    images = next((found for place in _IMAGE_PLACES if (found := images_in(folder / place))), ())
    try:
        with np.load(path, allow_pickle=False) as arrays:
            names = [name for name in arrays.files if re.fullmatch(r"world_mat_\d{1,6}", name)]
            world = {int(name[10:]): np.array(arrays[name]) for name in names}
            scale = {n: np.array(arrays[f"scale_mat_{n}"]) for n in world if f"scale_mat_{n}" in arrays.files}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise FormatError(f"{path} is no archive of plain arrays: {error}.") from error
    out = {}
    for number, image in enumerate(images):
        if number in world:
            where = f"{path}: world_mat_{number}"
            matrix = world[number]
            full = np.eye(4)
            full[: len(matrix)] = matrix_of(matrix, (4, 4) if matrix.size == 16 else (3, 4), where)
            if number in scale:
                full = full @ matrix_of(scale[number], (4, 4), f"{path}: scale_mat_{number}")
            out[image] = full[:3]
    if not out:
        raise FormatError(f"{path} has no world_mat_<i> for the {len(images)} images of {folder}.")
    return out
