"""Whether a scene's masks are there, fit their images, and show one object."""

from __future__ import annotations

from pathlib import PurePosixPath

import cv2
import numpy as np

from walkaround.dataset.audit.cameras import CamerasFound
from walkaround.dataset.audit.finding import Finding, make_finding
from walkaround.dataset.audit.hull import SmallMask, contradicting
from walkaround.dataset.audit.options import AuditOptions
from walkaround.dataset.readers.scan import IMAGE_SUFFIXES
from walkaround.dataset.readers.scene import Scene
from walkaround.errors import FormatError
from walkaround.io.image import decode_stored
from walkaround.types import BoolArray

EMPTY_SHARE = 1e-4
FULL_SHARE = 0.985
SMALL_PX = 160
"""Long side at which masks are compared across views."""
INVERTED_BORDER = 0.8
"""Share of an image's border that an inverted mask covers at least."""
SIZE_WH_TOLERANCE = 0.02


def check_masks(
    scene: Scene, sizes_wh: dict[str, tuple[int, int]], cameras: CamerasFound, options: AuditOptions
) -> list[Finding]:
    """Check the masks of the images that are whole."""
    key = (scene.class_label, scene.instance_id)
    names = {image: scene.mask_name(image) for image in sizes_wh}
    there = {image: name for image, name in names.items() if name is not None}
    if not there:
        return [make_finding(key, "no_masks")] if names and options.expect_masks else []
    findings = []
    absent = [f"images/{image}" for image, name in names.items() if name is None]
    if absent:
        findings.append(make_finding(key, "missing_mask", absent, f"{len(absent)} of {len(names)} images"))
    bad: dict[str, dict[str, str]] = {}
    small: dict[str, BoolArray] = {}
    for image, name in there.items():
        code, said, mask = _check_mask(scene, f"masks/{name}", sizes_wh[image])
        if code:
            bad.setdefault(code, {})[f"masks/{name}"] = said
        elif mask is not None:
            small[image] = mask
    for image in inverted(small):
        bad.setdefault("inverted_mask", {})[f"masks/{there[image]}"] = "it covers the image's border"
        del small[image]
    for image, said in _contradicting(small, cameras).items():
        bad.setdefault("masks_disagree", {})[f"masks/{there[image]}"] = said
    for code, items in bad.items():
        files = list(items)
        repair = None
        if code == "wrong_mask_size" and not all(_same_shape(said) for said in items.values()):
            repair = "masks"
        findings.append(make_finding(key, code, files, items[files[0]], repair=repair))
    return findings


def _check_mask(scene: Scene, path: str, size_wh: tuple[int, int]) -> tuple[str, str, BoolArray | None]:
    """Return a code and what was seen, or the mask at a small size."""
    try:
        values = decode_stored(scene.files.read(path), cv2.IMREAD_GRAYSCALE)
    except FormatError as error:
        return "unreadable_mask", str(error), None
    if values is None:
        return "unreadable_mask", f"{scene.files.size(path)} bytes that are no image", None
    if values.shape[::-1] != size_wh:
        return "wrong_mask_size", f"mask {_size(values.shape[::-1])}, image {_size(size_wh)}", None
    share = cv2.countNonZero(cv2.compare(values, 127, cv2.CMP_GT)) / values.size
    if share < EMPTY_SHARE:
        return "empty_mask", f"{share:.3%} of the image", None
    if share > FULL_SHARE:
        return "full_mask", f"{share:.1%} of the image", None
    scale = SMALL_PX / max(size_wh)
    if scale < 1:
        shape = (max(1, round(size_wh[0] * scale)), max(1, round(size_wh[1] * scale)))
        values = cv2.resize(values, shape, interpolation=cv2.INTER_AREA)
    return "", "", np.asarray(values > 127)


def inverted(small: dict[str, BoolArray]) -> list[str]:
    """Return the masks that cover the border; all of them when all do, for an object has surroundings."""
    shares = {image: _border_share(mask) for image, mask in small.items()}
    return [image for image, share in shares.items() if share >= INVERTED_BORDER]


def _border_share(mask: BoolArray) -> float:
    return float(np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]]).mean())


def _contradicting(small: dict[str, BoolArray], cameras: CamerasFound) -> dict[str, str]:
    if cameras.model is None or cameras.file_of is None or not cameras.trusted:
        return {}
    images = {cameras.file_of[i.name]: i for i in cameras.model.images if i.name in cameras.file_of}
    masks = [
        SmallMask.of(mask, image, images[image], cameras.model.cameras[images[image].camera_id])
        for image, mask in small.items()
        if image in images
    ]
    return contradicting(masks)


def orphan_masks(scene: Scene) -> list[str]:
    """Return masks that belong to no image."""
    known = {scene.mask_name(image) for image in scene.image_names}
    names = (n for n in scene.files.names("masks") if PurePosixPath(n).suffix.lower() in IMAGE_SUFFIXES)
    return [name for name in names if name not in known]


def _size(size_wh: tuple[int, ...]) -> str:
    return f"{size_wh[0]} x {size_wh[1]}"


def _same_shape(said: str) -> bool:
    """Return whether a mask has its image's shape, so that resizing is enough."""
    mask, image = (tuple(map(int, piece.split(" x "))) for piece in said[5:].split(", image "))
    return abs(mask[0] * image[1] - mask[1] * image[0]) <= SIZE_WH_TOLERANCE * mask[0] * image[1]
