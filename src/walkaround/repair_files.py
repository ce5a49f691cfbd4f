"""Repairs that run no stage: COLMAP's files put right, masks put together and resized."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterable, Set
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np

from walkaround.dataset.audit import Finding
from walkaround.dataset.audit.cameras import size_action
from walkaround.dataset.audit.names import match_names
from walkaround.dataset.readers.scene import SPARSE, Scene
from walkaround.errors import FormatError, SequenceRejected
from walkaround.io.atomic import write_bytes
from walkaround.io.colmap_tracks import RawCamera
from walkaround.io.image import decode_stored
from walkaround.types import Frame

MIN_CAMERAS = 3
_FILES = ("cameras", "images", "points3D")


def mend_sparse(scene: Scene, whole: Set[str], out: Path) -> None:
    """Write a scene's COLMAP model with the images' names, for the images that are whole, at their sizes.

    Poses, points and observations stay as they are; those of images left out go, and those of images of
    another size than the others of their camera.

    Parameters
    ----------
    whole
        Names of the images to keep.
    out
        Folder for the three binary files.

    Raises
    ------
    FormatError
        The model cannot be read.
    SequenceRejected
        Fewer than three cameras are left, or a camera cannot be made to fit.
    """
    from walkaround.io.colmap import load_pycolmap

    kind = "bin" if scene.files.size(f"{SPARSE}/images.bin") is not None else "txt"
    with tempfile.TemporaryDirectory(prefix="walkaround-mend-") as scratch:
        for name in _FILES:
            (Path(scratch) / f"{name}.{kind}").write_bytes(scene.files.read(f"{SPARSE}/{name}.{kind}"))
        try:
            model = load_pycolmap().Reconstruction(scratch)
        except (ValueError, RuntimeError, IndexError) as error:
            raise FormatError(f"{scene.files.where(SPARSE)} is not a readable model: {error}") from error
        _rename(model, scene, whole)
        _resize(model, scene)
        if model.num_reg_images() < MIN_CAMERAS:
            raise SequenceRejected(
                "few_registered", f"{model.num_reg_images()} cameras are left whose images are there and fit."
            )
        model.write_binary(scratch)
        for name in _FILES:
            write_bytes(out / f"{name}.bin", (Path(scratch) / f"{name}.bin").read_bytes())


def _rename(model: Any, scene: Scene, whole: Set[str]) -> None:
    """Give images the names of their files, and take out those without."""
    names = [image.name for image in model.images.values()]
    matched = match_names(names, scene.image_names)
    for image in list(model.images.values()):
        file = matched.get(image.name, image.name)
        if file in whole:
            image.name = file
        elif image.has_pose:
            model.deregister_frame(image.frame_id)


def _resize(model: Any, scene: Scene) -> None:
    """Give cameras the size of most of their images; images of another size lose their camera."""
    sizes: dict[int, dict[int, tuple[int, int]]] = {}
    for image in model.images.values():
        if image.has_pose:
            sizes.setdefault(image.camera_id, {})[image.image_id] = scene.image_size_wh(image.name)
    for camera_id, found in sizes.items():
        camera, size_wh = model.cameras[camera_id], Counter(found.values()).most_common(1)[0][0]
        for image_id in [image_id for image_id, size in found.items() if size != size_wh]:
            model.deregister_frame(model.images[image_id].frame_id)
        if size_wh == (camera.width, camera.height):
            continue
        raw = RawCamera(
            model_id=int(camera.model.value),
            width=int(camera.width),
            height=int(camera.height),
            params=tuple(float(value) for value in camera.params),
        )
        action, said = size_action(raw, size_wh)
        if action != "mend":
            raise SequenceRejected(
                "wrong_camera_size", f"A camera has another shape than its images ({said})."
            )
        fits = abs(raw.principal_point[0] - size_wh[0] / 2) <= 0.1 * size_wh[0]
        fits &= abs(raw.principal_point[1] - size_wh[1] / 2) <= 0.1 * size_wh[1]
        if fits:
            camera.width, camera.height = size_wh
        else:
            camera.rescale(*size_wh)
            scale = np.array(size_wh) / (raw.width, raw.height)
            for image in model.images.values():
                if image.camera_id == camera_id:
                    for point in image.points2D:
                        point.xy = point.xy * scale


def write_masks_part(
    scene: Scene,
    findings: Iterable[Finding],
    fresh: Path | None,
    out: Path,
    *,
    images: tuple[Frame, ...] = (),
    plain_names: bool = False,
) -> None:
    """Write a scene's masks into ``out``: good ones as they are, the others fresh or resized.

    When more than half would be fresh, all are: masks of two makers need not agree.

    Parameters
    ----------
    findings
        Those that name masks are taken to be about bad ones.
    fresh
        Folder with a ``<stem>.png`` for every image; None when there are none.
    plain_names
        Name all ``<stem>.png``.
    """
    frames = [frame.image for frame in images] or list(scene.image_names)
    bad = {path.partition("/")[2] for f in findings for path in f.files if path.startswith("masks/")}
    good = [i for i in frames if (name := scene.mask_name(i)) is not None and name not in bad]
    if fresh is not None and 2 * len(good) < len(frames):
        good = []
    for image in frames:
        name, stem = scene.mask_name(image), PurePosixPath(image).stem
        if image in good and name is not None:
            write_bytes(out / (f"{stem}.png" if plain_names else name), scene.files.read(f"masks/{name}"))
        elif fresh is not None:
            write_bytes(out / f"{stem}.png", (fresh / f"{stem}.png").read_bytes())
        elif name is not None:
            write_bytes(out / f"{stem}.png", _resized(scene, name, image))


def _resized(scene: Scene, name: str, image: str) -> bytes:
    values = decode_stored(scene.files.read(f"masks/{name}"), cv2.IMREAD_GRAYSCALE)
    if values is None:
        raise FormatError(f"{scene.files.where(f'masks/{name}')} is not a readable image.")
    size_wh = scene.image_size_wh(image)
    shrinks = size_wh[0] < values.shape[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    ok, data = cv2.imencode(".png", cv2.resize(values, size_wh, interpolation=method))
    if not ok:
        raise FormatError(f"{name} could not be encoded as PNG.")
    return bytes(np.asarray(data).tobytes())
