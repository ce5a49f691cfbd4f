"""Join models that the mapper left apart, by the points that both hold.

A keypoint that belongs to a point of one model, and whose verified match (or itself, in an image that both
registered) belongs to a point of the other, gives a pair of points. A similarity that brings both into
each other's images (RANSAC: Fischler and Bolles 1981, 10.1145/358669.358692; three points: Umeyama 1991,
10.1109/34.88573) joins the models; bundle adjustment and all matches then decide whether it was right.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from walkaround.cameras.consistency import PairCheck
from walkaround.cameras.mend import Scene, adjust
from walkaround.cameras.rays import keypoint_rays
from walkaround.geometry import Similarity, umeyama
from walkaround.io.colmap import load_pycolmap
from walkaround.types import BoolArray, Camera, FloatArray, IntArray

TRIALS = 3000
MISSED = 1e-6
"""Chance of having missed a better similarity at which the search ends."""
MAX_ERROR_PX = 8.0
"""In both models' images, for an image of 1000 px: two models bend differently until they are adjusted."""
MIN_POINTS = 15
"""Distinct pairs of points that must agree with the similarity."""
MIN_SHARE = 0.3
"""Of all pairs of points."""
MAX_PAIRS = 6000
"""Pairs of points that the similarity is sought in."""

Row = tuple[tuple[int, int], tuple[str, int], tuple[str, int]]
"""Point ids in a and b, image and keypoint in a, image and keypoint in b."""


@dataclass(frozen=True, kw_only=True)
class PointPairs:
    """Points of two models that a match says are the same, with where it saw them; a row a match."""

    ids: IntArray  # (N, 2) point ids in a, b
    points_in_a: FloatArray  # (N, 3)
    points_in_b: FloatArray  # (N, 3)
    cams_from_a: FloatArray  # (N, 3, 4)
    cams_from_b: FloatArray  # (N, 3, 4)
    rays_a: FloatArray  # (N, 2) x/z, y/z
    rays_b: FloatArray  # (N, 2)
    tolerance: FloatArray  # (N, 2) of the rays in a, b

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, which: IntArray | BoolArray) -> PointPairs:
        """Return some of the pairs."""
        return PointPairs(**{name: getattr(self, name)[which] for name in self.__dataclass_fields__})


def names_of(reconstruction: Any) -> set[str]:
    """Return the names of the registered images."""
    return {image.name for image in reconstruction.images.values() if image.has_pose}


def pair_points(a: Any, b: Any, scene: Scene) -> PointPairs:
    """Collect the points that two ``pycolmap.Reconstruction`` share, by verified matches or shared images."""
    seen_a, seen_b = _points_by_image(a, scene), _points_by_image(b, scene)
    rows: list[Row] = []

    def add(name_a: str, keypoints_a: IntArray, name_b: str, keypoints_b: IntArray) -> None:
        ids_a, ids_b = seen_a[name_a][keypoints_a], seen_b[name_b][keypoints_b]
        for k in np.flatnonzero((ids_a >= 0) & (ids_b >= 0)).tolist():
            key = int(ids_a[k]), int(ids_b[k])
            rows.append((key, (name_a, int(keypoints_a[k])), (name_b, int(keypoints_b[k]))))

    for name in sorted(seen_a.keys() & seen_b.keys()):
        both = np.arange(len(seen_a[name]))
        add(name, both, name, both)
    for (first, second), matches in scene.graph.matches.items():
        if first in seen_a and second in seen_b:
            add(first, matches[:, 0], second, matches[:, 1])
        if first in seen_b and second in seen_a:
            add(second, matches[:, 1], first, matches[:, 0])
    return _with_rays(a, b, sorted(rows), scene)


def _points_by_image(reconstruction: Any, scene: Scene) -> dict[str, IntArray]:
    out = {}
    for image in reconstruction.images.values():
        if image.has_pose and image.name in scene.graph.keypoints:
            ids = [p.point3D_id if p.has_point3D() else -1 for p in image.points2D]
            out[image.name] = np.array(ids, dtype=np.int64)
    return out


def _with_rays(a: Any, b: Any, rows: list[Row], scene: Scene) -> PointPairs:
    if len(rows) > MAX_PAIRS:
        rows = [rows[i] for i in np.linspace(0, len(rows) - 1, MAX_PAIRS).astype(int)]
    sides: list[dict[str, FloatArray]] = []
    for side, model in enumerate((a, b)):
        poses, rays, allowed = {}, {}, {}
        for image in model.images.values():
            if image.has_pose:
                camera = _camera(model.cameras[image.camera_id])
                poses[image.name] = np.asarray(image.cam_from_world().matrix())
                rays[image.name] = keypoint_rays(camera, scene.graph.keypoints[image.name])
                allowed[image.name] = MAX_ERROR_PX * max(camera.width, camera.height) / 1000 / camera.K[0, 0]
        where = [row[1 + side] for row in rows]
        sides.append(
            {
                "points": _stack([model.points3D[row[0][side]].xyz for row in rows], (3,)),
                "cams": _stack([poses[name] for name, _ in where], (3, 4)),
                "rays": _stack([rays[name][keypoint] for name, keypoint in where], (2,)),
                "tolerance": _stack([allowed[name] for name, _ in where], ()),
            }
        )
    return PointPairs(
        ids=np.array([row[0] for row in rows], dtype=np.int64).reshape(-1, 2),
        points_in_a=sides[0]["points"], points_in_b=sides[1]["points"],
        cams_from_a=sides[0]["cams"], cams_from_b=sides[1]["cams"],
        rays_a=sides[0]["rays"], rays_b=sides[1]["rays"],
        tolerance=np.column_stack([sides[0]["tolerance"], sides[1]["tolerance"]]).reshape(-1, 2),
    )  # fmt: skip


def _stack(values: list[Any], shape: tuple[int, ...]) -> FloatArray:
    return np.array(values, dtype=np.float64).reshape(-1, *shape)


def _camera(source: Any) -> Camera:
    return Camera(
        model=source.model.name,
        width=int(source.width),
        height=int(source.height),
        params=tuple(float(p) for p in source.params),
    )


def agreeing(fit: Similarity, pairs: PointPairs) -> BoolArray:
    """Return which pairs (N,) ``a_from_b`` brings to the right pixel, from either model into the other."""
    forward = _offsets(pairs.cams_from_a, fit.apply(pairs.points_in_b), pairs.rays_a)
    backward = _offsets(pairs.cams_from_b, fit.inverse().apply(pairs.points_in_a), pairs.rays_b)
    return np.asarray((forward < pairs.tolerance[:, 0]) & (backward < pairs.tolerance[:, 1]), dtype=bool)


def _offsets(cams: FloatArray, points: FloatArray, rays: FloatArray) -> FloatArray:
    local = np.einsum("nij,nj->ni", cams[:, :, :3], points) + cams[:, :, 3]
    z = local[:, 2]
    shown = local[:, :2] / np.where(z > 1e-9, z, np.inf)[:, None]
    return np.where(z > 1e-9, np.linalg.norm(shown - rays, axis=1), np.inf)


def find_similarity(pairs: PointPairs, *, seed: int) -> tuple[Similarity, BoolArray] | None:
    """Return ``a_from_b`` with the pairs that agree (N,), or None when too few do."""
    count = len(pairs)
    if count < MIN_POINTS:
        return None
    rng = np.random.default_rng(seed)
    best, best_good = None, np.zeros(count, dtype=bool)
    for trial in range(TRIALS):
        if trial > 50 and (1.0 - best_good.mean() ** 3) ** trial < MISSED:
            break
        pick = rng.choice(count, 3, replace=False)
        if len(np.unique(pairs.ids[pick, 0])) < 3 or len(np.unique(pairs.ids[pick, 1])) < 3:
            continue
        fit = umeyama(pairs.points_in_a[pick], pairs.points_in_b[pick])
        if not 1e-6 < fit.scale < 1e6:
            continue
        good = agreeing(fit, pairs)
        if good.sum() > best_good.sum():
            best, best_good = fit, good
            refined = umeyama(pairs.points_in_a[good], pairs.points_in_b[good]) if good.sum() >= 3 else fit
            again = agreeing(refined, pairs)
            if again.sum() > good.sum():
                best, best_good = refined, again
    distinct = min(len(np.unique(pairs.ids[best_good, side])) for side in (0, 1))
    if best is None or distinct < MIN_POINTS or best_good.mean() < MIN_SHARE:
        return None
    return best, best_good


def join_models(a: Any, b: Any, scene: Scene) -> Any | None:
    """Return a new ``pycolmap.Reconstruction`` of both models in the world of ``a``, adjusted, or None.

    The images, cameras and points of ``b`` that ``a`` lacks are added; points found to be the same become
    one. Whether the result is right is for the caller to check against all matches.
    """
    pairs = pair_points(a, b, scene)
    found = find_similarity(pairs, seed=scene.seed)
    if found is None:
        return None
    fit, good = found
    merged = type(a)(a)
    _add_images(merged, b, fit)
    new_ids = _add_points(merged, b, fit)
    for id_a, id_b in pairs.ids[good].tolist():
        _unite(merged, id_a, new_ids.pop(id_b, -1))
    adjust(merged)
    return merged


def _add_images(merged: Any, b: Any, fit: Similarity) -> None:
    pycolmap = load_pycolmap()
    present = names_of(merged)
    for image_id in sorted(b.reg_image_ids()):
        image = b.images[image_id]
        if image.name in present:
            continue
        if image.camera_id not in merged.cameras:
            merged.add_camera(pycolmap.Camera(b.cameras[image.camera_id]))
        source = b.frames[image.frame_id]
        if source.rig_id not in merged.rigs:
            merged.add_rig(pycolmap.Rig(b.rigs[source.rig_id]))
        if image.frame_id not in merged.frames:
            merged.add_frame(_without_pose(source))
        if image_id not in merged.images:
            keypoints = np.array([p.xy for p in image.points2D]).reshape(-1, 2)
            fresh = pycolmap.Image(
                name=image.name, keypoints=keypoints, camera_id=image.camera_id, image_id=image_id
            )
            fresh.frame_id = image.frame_id
            merged.add_image(fresh)
        cam_from_b = np.eye(4)
        cam_from_b[:3] = image.cam_from_world().matrix()
        pose = pycolmap.Rigid3d(fit.apply_pose(cam_from_b)[:3])
        merged.frames[image.frame_id].set_cam_from_world(image.camera_id, pose)
        merged.register_frame(image.frame_id)


def _without_pose(source: Any) -> Any:
    pycolmap = load_pycolmap()
    frame = pycolmap.Frame()
    frame.frame_id, frame.rig_id = source.frame_id, source.rig_id
    for data_id in source.data_ids:
        frame.add_data_id(data_id)
    frame.finalize_data_ids()
    return frame


def _add_points(merged: Any, b: Any, fit: Similarity) -> dict[int, int]:
    """Add the points of ``b`` with what is free of their tracks; return new ids by old ones."""
    pycolmap = load_pycolmap()
    new_ids = {}
    for old in sorted(b.points3D):
        point = b.points3D[old]
        free = [
            element
            for element in point.track.elements
            if not merged.images[element.image_id].points2D[element.point2D_idx].has_point3D()
        ]
        if len({element.image_id for element in free}) >= 2:
            track = pycolmap.Track()
            for element in free:
                track.add_element(element.image_id, element.point2D_idx)
            new_ids[old] = merged.add_point3D(fit.apply(point.xyz), track, point.color)
    return new_ids


def _unite(merged: Any, first: int, second: int) -> None:
    """Make one point of two, unless they are seen apart in an image."""
    if first not in merged.points3D or second not in merged.points3D:
        return
    images = [{e.image_id for e in merged.points3D[i].track.elements} for i in (first, second)]
    if not images[0] & images[1]:
        merged.merge_points3D(first, second)


def bridging_points(reconstruction: Any, only_a: set[str], only_b: set[str]) -> int:
    """Count the points that images of both sides see."""
    name = {image_id: image.name for image_id, image in reconstruction.images.items()}
    count = 0
    for point in reconstruction.points3D.values():
        seen = {name[element.image_id] for element in point.track.elements}
        count += bool(seen & only_a and seen & only_b)
    return count


def crossing_support(
    pairs: tuple[PairCheck, ...], names: list[str], only_a: set[str], only_b: set[str]
) -> float:
    """Return the share of verified matches between the two sides that the poses explain (1 when none are).

    ``names`` are those of the views that the pairs' positions mean. Pairs of many matches count more.
    """
    total, good = 0, 0
    for pair in pairs:
        first, second = names[pair.first], names[pair.second]
        if (first in only_a and second in only_b) or (first in only_b and second in only_a):
            total += pair.count**2
            good += pair.count * pair.agreeing
    return good / total if total else 1.0
