"""Place suspect and missing cameras again, from the matches with their neighbours alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from walkaround.cameras.consistency import NEAR_IN_TIME, STRONGEST_PAIRS
from walkaround.cameras.viewgraph import ViewGraph
from walkaround.io.colmap import load_pycolmap, remove_tree
from walkaround.types import FloatArray, IntArray

MIN_RESECTION_INLIERS = 15
MIN_RESECTION_SHARE = 0.3
RESECTION_ERROR_PX = 6.0
"""For an image of 1000 px."""

MIN_TIES = 10
"""Points that a camera must share with two others at once."""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """The scratch files of one attempt that mending needs."""

    database: Path
    image_dir: Path
    scratch_dir: Path
    graph: ViewGraph
    times: dict[str, int] | None
    """Position in time by image name; None for photos."""
    seed: int


def replace_cameras(reconstruction: Any, names: list[str], scene: Scene) -> list[str]:
    """Take the cameras ``names`` out, resection each by its neighbours, retriangulate and adjust.

    Parameters
    ----------
    reconstruction
        A ``pycolmap.Reconstruction``; changed in place (cameras that find no place stay out).
    names
        Suspect registered images, and images without a camera.

    Returns
    -------
    list of str
        The images that were placed.
    """
    ids = {image.name: image.image_id for image in reconstruction.images.values()}
    for name in names:
        if name in ids and reconstruction.images[ids[name]].has_pose:
            reconstruction.deregister_frame(reconstruction.images[ids[name]].frame_id)
    waiting, placed = [name for name in names if name in ids], []
    while waiting:
        supports = {name: collect_correspondences(reconstruction, ids, name, scene) for name in waiting}
        waiting.sort(key=lambda name: (-len(supports[name][0]), name))
        name = waiting.pop(0)
        if len(supports[name][0]) < MIN_RESECTION_INLIERS:
            break
        if _resection(reconstruction, ids[name], *supports[name], seed=scene.seed):
            placed.append(name)
    return placed


def loose_cameras(reconstruction: Any) -> list[str]:
    """Return the cameras that see fewer than ``MIN_TIES`` points with at least two others.

    What only two cameras see fits wherever one stands along the line between them: such a camera may be
    anywhere on it while all matches agree.
    """
    ties = dict.fromkeys(reconstruction.reg_image_ids(), 0)
    for point in reconstruction.points3D.values():
        seen = {element.image_id for element in point.track.elements}
        if len(seen) >= 3:
            for image_id in seen:
                ties[image_id] += 1
    return sorted(reconstruction.images[i].name for i, count in ties.items() if count < MIN_TIES)


def neighbours(name: str, scene: Scene) -> list[str]:
    """Return the images whose matches with ``name`` are trusted most."""
    pairs = [(a if b == name else b, len(m)) for (a, b), m in scene.graph.matches.items() if name in (a, b)]
    if scene.times is not None:
        near = [p for p in pairs if abs(scene.times[p[0]] - scene.times[name]) <= NEAR_IN_TIME]
        pairs = near or pairs
    pairs.sort(key=lambda p: (-p[1], p[0]))
    return [other for other, _ in pairs[:STRONGEST_PAIRS]]


def collect_correspondences(
    reconstruction: Any, ids: dict[str, int], name: str, scene: Scene
) -> tuple[FloatArray, FloatArray, IntArray, list[int]]:
    """Return pixels (M, 2), points (M, 3), keypoint indices and point ids seen through the neighbours."""
    found: dict[tuple[int, int], FloatArray] = {}
    for other in neighbours(name, scene):
        image = reconstruction.images[ids[other]] if other in ids else None
        if image is None or not image.has_pose:
            continue
        first, second = min(name, other), max(name, other)
        matches = scene.graph.matches[(first, second)]
        mine, theirs = (matches[:, 0], matches[:, 1]) if first == name else (matches[:, 1], matches[:, 0])
        points2d = image.points2D
        for keypoint, partner in zip(mine.tolist(), theirs.tolist(), strict=True):
            if points2d[partner].has_point3D():
                point_id = points2d[partner].point3D_id
                found[(keypoint, point_id)] = reconstruction.points3D[point_id].xyz
    keys = sorted(found)
    keypoints = np.array([k for k, _ in keys], dtype=np.int64)
    xyz = np.array([found[key] for key in keys]).reshape(-1, 3)
    pixels = scene.graph.keypoints[name][keypoints].reshape(-1, 2)
    return pixels, xyz, keypoints, [point_id for _, point_id in keys]


def _resection(
    reconstruction: Any,
    image_id: int,
    pixels: FloatArray,
    xyz: FloatArray,
    keypoints: IntArray,
    point_ids: list[int],
    *,
    seed: int,
) -> bool:
    pycolmap = load_pycolmap()
    image = reconstruction.images[image_id]
    camera = reconstruction.cameras[image.camera_id]
    options = pycolmap.AbsolutePoseEstimationOptions()
    options.ransac.max_error = RESECTION_ERROR_PX * max(camera.width, camera.height) / 1000.0
    options.ransac.random_seed = seed
    answer = pycolmap.estimate_and_refine_absolute_pose(pixels, xyz, camera, options)
    if answer is None:
        return False
    inliers = np.asarray(answer["inlier_mask"], dtype=bool)
    if inliers.sum() < MIN_RESECTION_INLIERS or inliers.mean() < MIN_RESECTION_SHARE:
        return False
    frame = reconstruction.frames[image.frame_id]
    frame.set_cam_from_world(image.camera_id, answer["cam_from_world"])
    reconstruction.register_frame(image.frame_id)
    used_points: set[int] = set()
    used_keypoints: set[int] = set()
    for position in np.flatnonzero(inliers).tolist():
        keypoint, point_id = int(keypoints[position]), point_ids[position]
        if keypoint in used_keypoints or point_id in used_points:
            continue
        if reconstruction.images[image_id].points2D[keypoint].has_point3D():
            continue
        reconstruction.add_observation(point_id, pycolmap.TrackElement(image_id, keypoint))
        used_points.add(point_id)
        used_keypoints.add(keypoint)
    return True


def retriangulate(reconstruction: Any, scene: Scene) -> Any:
    """Triangulate all points anew from the poses, then adjust the whole model twice with outliers removed."""
    pycolmap = load_pycolmap()
    pycolmap.set_random_seed(scene.seed)
    options = pycolmap.IncrementalPipelineOptions()
    options.num_threads = 1
    options.random_seed = scene.seed
    options.triangulation.random_seed = scene.seed
    output = scene.scratch_dir / "triangulated"
    remove_tree(output)
    output.mkdir(parents=True)
    for _ in range(2):
        reconstruction = pycolmap.triangulate_points(
            reconstruction, scene.database, scene.image_dir, output, clear_points=True, options=options
        )
        adjust(reconstruction)
    remove_tree(output)
    return reconstruction


def adjust(reconstruction: Any) -> None:
    """Bundle adjustment on one thread (the same result in each run), then drop bad points."""
    pycolmap = load_pycolmap()
    options = pycolmap.BundleAdjustmentOptions()
    options.print_summary = False
    options.ceres.solver_options.num_threads = 1
    options.ceres.loss_function_type = pycolmap.LossFunctionType.SOFT_L1
    # Not pycolmap.bundle_adjustment: it turns COLMAP's log back on for the rest of the process.
    config = pycolmap.BundleAdjustmentConfig()
    for image_id in sorted(reconstruction.reg_image_ids()):
        config.add_image(image_id)
    config.fix_gauge(pycolmap.BundleAdjustmentGauge.TWO_CAMS_FROM_WORLD)
    pycolmap.create_default_bundle_adjuster(options, config, reconstruction).solve()
    pycolmap.ObservationManager(reconstruction).filter_all_points3D(4.0, 1.5)
    reconstruction.update_point_3d_errors()
