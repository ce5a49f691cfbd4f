"""Whether poses and points can be those of a camera that walked around an object."""

from __future__ import annotations

import numpy as np

from walkaround.dataset.audit.finding import Finding, make_finding
from walkaround.dataset.readers.scene import SPARSE
from walkaround.io.colmap_tracks import RawImage, RawModel
from walkaround.types import FloatArray, IntArray

MIN_PARALLAX = 0.01
"""The cameras' spread over their distance to the points; a walk of 20 degrees has about 0.1."""
MAX_BEHIND = 0.05
MAX_ERROR = 0.03
"""Median distance of points to where they were seen, as a share of the diagonal; real models have 0.001."""
FISHEYE = frozenset({5, 7, 8, 9, 10})
"""COLMAP's camera models whose distortion cannot be left out."""
MIN_SHARED = 3
"""Points that connect two cameras."""
MIN_CONNECTED = 0.9
"""Share of the cameras that hang together, in a model without fault."""
MAX_SEEN = 400
"""Observations of an image that are looked at."""


def check_geometry(
    key: tuple[str, str], model: RawModel, *, others: int, intrinsics_fit: bool = True
) -> list[Finding]:
    """Check poses and points of a model.

    Parameters
    ----------
    others
        Models beside this one.
    intrinsics_fit
        False when a camera itself is wrong already: where points project to then says nothing about poses.
    """
    where = [f"{SPARSE}/images.bin"]
    bad = bad_poses(model.images)
    if bad:
        return [make_finding(key, "bad_pose", where, bad)]
    finite = np.atleast_1d(np.isfinite(model.points_in_world).all(axis=1))
    if not finite.all():
        said = f"{int((~finite).sum())} of {len(finite)} points"
        return [make_finding(key, "bad_points", [f"{SPARSE}/points3D.bin"], said)]
    poses = [pose_of(image) for image in model.images]
    parallax = relative_spread(poses, model.points_in_world)
    if parallax is not None and parallax < MIN_PARALLAX:
        said = f"the cameras' spread is {parallax:.2g} of their distance to the points"
        return [make_finding(key, "no_parallax", where, said)]
    if not len(finite):
        return [make_finding(key, "no_points", [f"{SPARSE}/points3D.bin"], "0 points")]
    findings = []
    behind, errors = _fit(model, poses)
    far = {name: error for name, error in errors.items() if error > MAX_ERROR}
    if far and intrinsics_fit:
        worst = max(far, key=lambda name: far[name])
        said = f"{worst}: points lie {far[worst]:.0%} of the diagonal from where they were seen"
        findings.append(make_finding(key, "poses_disagree", [f"images/{name}" for name in far], said))
    elif behind > MAX_BEHIND:
        said = f"{behind:.0%} of the observations lie behind their camera"
        findings.append(make_finding(key, "points_behind", where, said))
    parts = _parts(model)
    if others or parts[0] < MIN_CONNECTED * sum(parts):
        models = f"{others + 1} models; " if others else ""
        said = f"{models}parts of {', '.join(map(str, parts[:5]))} cameras in sparse/0"
        findings.append(make_finding(key, "disconnected_model", where, said))
    return findings


def bad_poses(images: tuple[RawImage, ...]) -> str:
    """Say which pose is not finite or has a quaternion that is far from length 1; empty when none."""
    for image in images:
        length = float(np.linalg.norm(image.quaternion))
        if not np.isfinite([length, *image.translation]).all():
            return f"{image.name}: not finite"
        if abs(length - 1) > 1e-2:
            return f"{image.name}: the quaternion has length {length:.4g}"
    return ""


def pose_of(image: RawImage) -> tuple[FloatArray, FloatArray]:
    """Return rotation (3, 3) and translation (3,) from world to camera."""
    w, x, y, z = image.quaternion / np.linalg.norm(image.quaternion)
    rotation = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    return rotation, image.translation


def relative_spread(poses: list[tuple[FloatArray, FloatArray]], points: FloatArray) -> float | None:
    """Return the cameras' spread over their distance to the points; None for fewer than two cameras."""
    if len(poses) < 2:
        return None
    centres = np.array([-rotation.T @ translation for rotation, translation in poses])
    middle = np.median(centres, axis=0)
    spread = float(np.sqrt(((centres - middle) ** 2).sum(axis=1).mean()))
    if not len(points):
        scale = float(np.abs(centres).max())
        return spread / scale if scale > 0 else 0.0
    distance = float(np.median(np.linalg.norm(points - middle, axis=1)))
    return spread / distance if distance > 0 else 0.0


def _fit(model: RawModel, poses: list[tuple[FloatArray, FloatArray]]) -> tuple[float, dict[str, float]]:
    """Return the share of observations behind their camera, and each image's median error over its diagonal.

    Lens distortion is left out: it moves points by less than what is looked for, except by fisheye lenses.
    """
    behind, seen, errors = 0, 0, {}
    for image, (rotation, translation) in zip(model.images, poses, strict=True):
        index, known = _rows(model, image.point_ids)
        index, xy = index[known], image.xy[known]
        if not len(index):
            continue
        step = -(-len(index) // MAX_SEEN)
        in_camera = model.points_in_world[index[::step]] @ rotation.T + translation
        front = in_camera[:, 2] > 0
        behind, seen = behind + int((~front).sum()), seen + len(front)
        camera = model.cameras[image.camera_id]
        if front.any() and camera.model_id not in FISHEYE:
            focals = np.array([camera.focals[0], camera.focals[-1]])
            pixels = in_camera[front, :2] / in_camera[front, 2:] * focals + camera.principal_point
            distance = np.linalg.norm(pixels - xy[::step][front], axis=1)
            errors[image.name] = float(np.median(distance)) / float(np.hypot(camera.width, camera.height))
    return behind / max(seen, 1), errors


def _rows(model: RawModel, point_ids: IntArray) -> tuple[IntArray, np.ndarray]:
    """Return where points lie in the model's list, and which are in it at all."""
    at = np.searchsorted(model.point_ids, point_ids).clip(max=max(len(model.point_ids) - 1, 0))
    return at, model.point_ids[at] == point_ids


def _parts(model: RawModel) -> list[int]:
    """Return how many cameras hang together by shared points, largest part first."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    rows, columns = [], []
    for number, image in enumerate(model.images):
        index, known = _rows(model, image.point_ids)
        columns.append(np.unique(index[known]))
        rows.append(np.full(len(columns[-1]), number))
    if not rows:
        return [0]
    row, column = np.concatenate(rows), np.concatenate(columns)
    shape = (len(model.images), len(model.point_ids))
    seen = csr_array((np.ones(len(row), np.int32), (row, column)), shape=shape)
    shared = (seen @ seen.T).tocsr()
    shared.data = (shared.data >= MIN_SHARED).astype(np.int32)
    shared.eliminate_zeros()
    _, labels = connected_components(shared, directed=False)
    return sorted(np.bincount(labels).tolist(), reverse=True)
