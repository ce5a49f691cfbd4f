"""What the COLMAP files of a scene say, and whether it can be right."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from walkaround.dataset.audit.finding import Finding, make_finding
from walkaround.dataset.audit.geometry import check_geometry
from walkaround.dataset.audit.names import match_names
from walkaround.dataset.readers.scene import SPARSE, Scene
from walkaround.errors import FormatError
from walkaround.io.colmap_tracks import RawCamera, RawModel, parse_model
from walkaround.quality.rules import RULES_BY_CODE

FILES = ("cameras", "images", "points3D")
MIN_REGISTERED = RULES_BY_CODE["few_registered"].low
NEAR = 0.1
"""A principal point this near to the middle, as a share of the size, belongs to images of that size."""
ABSURD_FOCAL = (0.15, 30.0)
"""Focal lengths outside of these, as a share of the long side, belong to no camera that films objects."""


@dataclass(frozen=True, kw_only=True)
class CamerasFound:
    """What was found; the rest of the audit uses the model when it can be trusted."""

    findings: tuple[Finding, ...]
    model: RawModel | None = None
    file_of: dict[str, str] | None = None
    """Name in the cameras -> image file, for those whose image is there."""

    @property
    def trusted(self) -> bool:
        """True when masks can be compared across views."""
        doubtful = any(f.repair == "cameras" or f.code == "wrong_camera_size" for f in self.findings)
        return self.model is not None and not doubtful


def check_cameras(scene: Scene, sizes_wh: dict[str, tuple[int, int]]) -> CamerasFound:
    """Check the COLMAP files of a scene against its images and against themselves.

    Parameters
    ----------
    sizes_wh
        Image -> width and height, of the images that are whole.
    """
    key = (scene.class_label, scene.instance_id)
    parts = _other_models(scene)
    if not scene.has_cameras:
        if not scene.image_names:
            return CamerasFound(findings=())
        size = scene.files.size(f"{SPARSE}/images.bin")
        said = f"images.bin has {size} bytes" if size is not None else "no images.bin or images.txt"
        return CamerasFound(findings=(make_finding(key, "no_cameras", [f"{SPARSE}/images.bin"], said),))
    try:
        model = read_raw_model(scene)
        _check_ids(model)
    except FormatError as error:
        said = str(error)
        return CamerasFound(findings=(make_finding(key, "broken_sparse", [SPARSE], said),))
    names = [image.name for image in model.images]
    matched = match_names(names, scene.image_names)
    here = {name: matched.get(name, name) for name in names}
    file_of = {name: file for name, file in here.items() if file in sizes_wh}
    intrinsics = _check_intrinsics(key, model, file_of, sizes_wh)
    fit = not any(finding.code == "bad_intrinsics" for finding in intrinsics)
    findings = [
        *_check_names(key, scene, names, matched),
        *_check_share(key, scene, len(set(here.values()) & set(scene.image_names))),
        *intrinsics,
        *check_geometry(key, model, others=parts, intrinsics_fit=fit),
    ]
    return CamerasFound(findings=tuple(findings), model=model, file_of=file_of)


def read_raw_model(scene: Scene) -> RawModel:
    """Read ``sparse/0``, binary or text.

    Raises
    ------
    FormatError
        A file is missing or broken.
    """
    if scene.files.size(f"{SPARSE}/images.bin") is not None:
        return parse_model(*(scene.files.read(f"{SPARSE}/{name}.bin") for name in FILES))
    from walkaround.io.colmap import load_pycolmap

    with tempfile.TemporaryDirectory(prefix="walkaround-sparse-") as scratch:
        for name in FILES:
            (Path(scratch) / f"{name}.txt").write_bytes(scene.files.read(f"{SPARSE}/{name}.txt"))
        try:
            load_pycolmap().Reconstruction(scratch).write_binary(scratch)
        except (ValueError, RuntimeError, IndexError) as error:
            raise FormatError(f"{SPARSE} is not a readable COLMAP model: {error}") from error
        return parse_model(*((Path(scratch) / f"{name}.bin").read_bytes() for name in FILES))


def _check_ids(model: RawModel) -> None:
    for image in model.images:
        if image.camera_id not in model.cameras:
            raise FormatError(
                f"images.bin: {image.name} has camera {image.camera_id}, which cameras.bin lacks."
            )
    names = [image.name for image in model.images]
    if len(set(names)) != len(names):
        double = next(name for name in names if names.count(name) > 1)
        raise FormatError(f"images.bin: {double} comes twice.")


def _other_models(scene: Scene) -> int:
    """Return how many models lie beside ``sparse/0``."""
    folders = [name for name in scene.files.folders("sparse") if name.isdigit() and name != "0"]
    return sum(
        (scene.files.size(f"sparse/{name}/images.{kind}") or 0) > 8
        for name in folders
        for kind in ("bin", "txt")
    )


def _check_names(
    key: tuple[str, str], scene: Scene, names: list[str], matched: dict[str, str]
) -> list[Finding]:
    findings = []
    if matched:
        first = next(iter(matched))
        files = [f"images/{file}" for file in matched.values()]
        findings.append(make_finding(key, "wrong_names", files, f"the cameras name it {first!r}"))
    there = set(scene.image_names)
    missing = [f"images/{name}" for name in names if name not in there and name not in matched]
    if missing:
        said = f"{len(missing)} of {len(names)} images with a camera"
        findings.append(make_finding(key, "missing_image", missing, said))
    return findings


def _check_share(key: tuple[str, str], scene: Scene, registered: int) -> list[Finding]:
    total = len(scene.image_names)
    if total and registered < MIN_REGISTERED * total:
        said = f"{registered} of {total} images"
        return [make_finding(key, "partial_cameras", [f"{SPARSE}/images.bin"], said)]
    return []


def _check_intrinsics(
    key: tuple[str, str], model: RawModel, file_of: dict[str, str], sizes_wh: dict[str, tuple[int, int]]
) -> list[Finding]:
    sizes: dict[tuple[str, str], list[str]] = {}
    absurd: dict[int, str] = {}
    for image in model.images:
        camera = model.cameras[image.camera_id]
        file = file_of.get(image.name)
        said = absurd_intrinsics(camera)
        if said:
            absurd[image.camera_id] = said
        elif file is not None and sizes_wh[file] != (camera.width, camera.height):
            action, why = size_action(camera, sizes_wh[file])
            sizes.setdefault((action, why), []).append(f"images/{file}")
    findings = [
        make_finding(key, "wrong_camera_size", files, why, repair=action)
        for (action, why), files in sizes.items()
    ]
    for camera_id, said in list(absurd.items())[:1]:
        findings.append(
            make_finding(key, "bad_intrinsics", [f"{SPARSE}/cameras.bin"], f"camera {camera_id}: {said}")
        )
    return findings


def absurd_intrinsics(camera: RawCamera) -> str:
    """Say why a camera cannot be right by itself; empty when it can."""
    if not np.isfinite(camera.params).all():
        return "a parameter is not finite"
    if not (0 < camera.width < 1 << 20 and 0 < camera.height < 1 << 20):
        return f"the size is {camera.width} x {camera.height}"
    low, high = (share * max(camera.width, camera.height) for share in ABSURD_FOCAL)
    for focal in camera.focals:
        if not low <= focal <= high:
            return f"the focal length is {focal:.4g} px at {camera.width} x {camera.height}"
    cx, cy = camera.principal_point
    longest = max(camera.width, camera.height)
    if not (0 <= cx <= longest and 0 <= cy <= longest):
        return f"the principal point is ({cx:.4g}, {cy:.4g}) at {camera.width} x {camera.height}"
    return ""


def size_action(camera: RawCamera, size_wh: tuple[int, int]) -> tuple[str, str]:
    """Return what repairs a camera of another size than its images, and what was seen.

    Numbers that fit the image need only the size; a camera of the same shape is scaled; else nobody knows
    what was done to the images, and cameras are estimated anew.
    """
    width, height = size_wh
    cx, cy = camera.principal_point
    swapped = " (swapped)" if (camera.width, camera.height) == (height, width) and width != height else ""
    said = f"camera {camera.width} x {camera.height}, image {width} x {height}{swapped}"
    if abs(cx - width / 2) <= NEAR * width and abs(cy - height / 2) <= NEAR * height:
        return "mend", said
    same_shape = abs(camera.width * height - camera.height * width) <= 0.01 * camera.width * height
    inside = abs(cx - camera.width / 2) <= 0.25 * camera.width
    return ("mend" if same_shape and inside else "cameras"), said
