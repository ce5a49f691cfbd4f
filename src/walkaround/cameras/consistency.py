"""Does each camera agree with the matches it has, and with its neighbours in time?

A camera that a repeated pattern folded to a wrong place keeps a small reprojection error on the points it
kept; what gives it away are the verified matches that the model could not use. So the model's epipolar
geometry is held against *all* verified matches: of neighbours in time for a video, of the strongest pairs
for photos.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from walkaround.cameras.rays import keypoint_rays
from walkaround.cameras.viewgraph import ViewGraph
from walkaround.types import BoolArray, FloatArray, IntArray, SparseModel, View

NEAR_IN_TIME = 3
STRONGEST_PAIRS = 6
UNDISPUTED = 0.85
"""A camera with at least this support may jump: the matches are better evidence than smoothness."""


@dataclass(frozen=True, kw_only=True)
class PairCheck:
    """How many verified matches of two views (positions in the model) the model's poses explain."""

    first: int
    second: int
    count: int
    agreeing: int

    @property
    def share(self) -> float:
        return self.agreeing / max(self.count, 1)


@dataclass(frozen=True, kw_only=True)
class Consistency:
    """The check of a whole model."""

    cameras: FloatArray  # (N,) 0..1: support of each camera by the matches of its neighbours
    cuts: FloatArray  # (N - 1,) 0..1: support across each step in time; 1 for photos
    pairs: tuple[PairCheck, ...]

    @property
    def score(self) -> float:
        """The weakest camera or cut: one folded camera is enough to make the model wrong."""
        lowest = [*self.cameras, *self.cuts]
        return float(min(lowest)) if lowest else 0.0


def check_cameras(model: SparseModel, graph: ViewGraph, *, ordered: bool) -> Consistency:
    """Hold the model's poses against all verified matches.

    Parameters
    ----------
    ordered
        The views' frame indices are positions in time.
    """
    pairs = tuple(check_pairs(model, graph))
    times = np.array([view.frame.index for view in model.views])
    cameras = np.array([_camera_support(i, pairs, times, ordered) for i in range(len(model.views))])
    cuts = np.ones(max(len(model.views) - 1, 0))
    if ordered:
        jumps = temporal_jumps(model)
        cameras = np.where(jumps & (cameras < UNDISPUTED), 0.5 * cameras, cameras)
        for step in range(len(cuts)):
            cuts[step] = _cut_support(step, pairs)
    return Consistency(cameras=cameras, cuts=cuts, pairs=pairs)


def temporal_jumps(model: SparseModel) -> BoolArray:
    """Return which cameras (N,) leave the smooth path of their neighbours in time, in place and in turn.

    Each camera is compared with the middle of the previous and the next one. Hands shake, so a jump must
    stand out from the spread of the whole walk: six robust standard deviations, and at least a whole step
    and 8 degrees.
    """
    count = len(model.views)
    if count < 5:
        return np.zeros(count, dtype=bool)
    times = np.array([view.frame.index for view in model.views], dtype=np.float64)
    centres = np.array([view.centre for view in model.views])
    steps = np.linalg.norm(np.diff(centres, axis=0), axis=1) / np.maximum(np.diff(times), 1.0)
    shift, turn = np.zeros(count), np.zeros(count)
    for i in range(1, count - 1):
        weight = (times[i] - times[i - 1]) / (times[i + 1] - times[i - 1])
        middle = (1 - weight) * centres[i - 1] + weight * centres[i + 1]
        shift[i] = np.linalg.norm(centres[i] - middle)
        rotations = [model.views[k].cam_from_world[:3, :3] for k in (i - 1, i, i + 1)]
        span = Rotation.from_matrix(rotations[2] @ rotations[0].T).as_rotvec()
        between = Rotation.from_rotvec(weight * span).as_matrix() @ rotations[0]
        turn[i] = np.degrees(Rotation.from_matrix(rotations[1] @ between.T).magnitude())
    far = shift > max(6 * 1.4826 * float(np.median(shift[1:-1])), float(np.median(steps)))
    turned = turn > max(6 * 1.4826 * float(np.median(turn[1:-1])), 8.0)
    return np.asarray(far & turned, dtype=bool)


def check_pairs(model: SparseModel, graph: ViewGraph) -> list[PairCheck]:
    """Count for each verified pair of registered views the matches that their poses explain."""
    position = {view.frame.image: i for i, view in enumerate(model.views)}
    rays = {name: keypoint_rays(model.views[i].camera, graph.keypoints[name]) for name, i in position.items()}
    out = []
    for (a, b), found in graph.matches.items():
        if a not in position or b not in position:
            continue
        i, j = position[a], position[b]
        good = explained(model.views[i], model.views[j], rays[a][found[:, 0]], rays[b][found[:, 1]])
        first, second = min(i, j), max(i, j)
        out.append(PairCheck(first=first, second=second, count=len(found), agreeing=int(good.sum())))
    return out


def explained(a: View, b: View, rays_a: FloatArray, rays_b: FloatArray) -> BoolArray:
    """Return which matches (M, 2) (M, 2) of normalised rays fit two poses.

    The Sampson distance must stay within 4 px of a 1000-px image, and both depths must be positive.
    """
    b_from_a = b.cam_from_world @ np.linalg.inv(a.cam_from_world)
    rotation, translation = b_from_a[:3, :3], b_from_a[:3, 3]
    x1 = np.column_stack([rays_a, np.ones(len(rays_a))])
    x2 = np.column_stack([rays_b, np.ones(len(rays_b))])
    tx, ty, tz = translation / max(float(np.linalg.norm(translation)), 1e-12)
    essential = np.array([[0, -tz, ty], [tz, 0, -tx], [-ty, tx, 0]]) @ rotation
    e_x1, et_x2 = x1 @ essential.T, x2 @ essential
    numerator = (x2 * e_x1).sum(axis=1)
    sampson = np.abs(numerator) / np.sqrt(
        np.maximum((e_x1[:, :2] ** 2).sum(axis=1) + (et_x2[:, :2] ** 2).sum(axis=1), 1e-18)
    )
    focal = 0.5 * (a.camera.K[0, 0] + b.camera.K[0, 0])
    tolerance = 4.0 * max(a.camera.width, a.camera.height) / 1000.0 / focal
    # Depths from x2 z2 = z1 R x1 + t: cross with x2, solve for z1.
    rx1 = x1 @ rotation.T
    cross_r, cross_t = np.cross(x2, rx1), np.cross(x2, translation)
    z1 = -(cross_r * cross_t).sum(axis=1) / np.maximum((cross_r**2).sum(axis=1), 1e-18)
    z2 = z1 * rx1[:, 2] + translation[2]
    return (sampson < tolerance) & (z1 > 0) & (z2 > 0)


def _camera_support(
    i: int,
    pairs: tuple[PairCheck, ...],
    times: IntArray,
    ordered: bool,
) -> float:
    mine = [p for p in pairs if i in (p.first, p.second)]
    if ordered:
        near = [p for p in mine if abs(int(times[p.first]) - int(times[p.second])) <= NEAR_IN_TIME]
        mine = near or mine
    mine.sort(key=lambda p: (-p.count, p.first, p.second))
    mine = mine[:STRONGEST_PAIRS]
    return _weighted_share(mine)


def _cut_support(step: int, pairs: tuple[PairCheck, ...]) -> float:
    """Support across the step from view ``step`` to the next one."""
    crossing = [p for p in pairs if p.first <= step < p.second and p.second - p.first <= NEAR_IN_TIME]
    return _weighted_share(crossing)


def _weighted_share(pairs: list[PairCheck]) -> float:
    """Share of matches explained; pairs with many matches, which are hardly ever false, count more."""
    total = sum(p.count**2 for p in pairs)
    return sum(p.count * p.agreeing for p in pairs) / total if total else 0.0
