"""One object of a simulated dataset: a scene, views around it, and exact truth, in its own world."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial import ConvexHull

from walkaround.simulate.dataset_options import SimulateDatasetOptions
from walkaround.simulate.families import FAMILIES, make_instance
from walkaround.simulate.motion import standoff
from walkaround.simulate.options import SimulateOptions
from walkaround.simulate.render import RenderedFrame, render_frame
from walkaround.simulate.scene import Scene, bake_light, make_scene
from walkaround.simulate.surface import TriangleMesh
from walkaround.types import (
    BoolArray,
    ByteArray,
    Camera,
    FloatArray,
    Frame,
    PointCloud,
    Progress,
    SparseModel,
    View,
)

CLASS_LABELS = tuple(FAMILIES)
"""In this order: a dataset of n classes takes the first n."""
CLOUD_POINTS = 4096
SPARSE_POINTS = 300
_FOCAL_SHARE = 1.2
"""Focal length over the image's side: 45 degrees of view."""
_LIGHT_SAMPLES = 5


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a view stands, seen from the object."""

    azimuth_deg: float
    """-180 to 180; 0 shows the front."""
    elevation_deg: float
    distance: float
    """In units of the median distance."""


@dataclass(frozen=True, kw_only=True)
class SimulatedObject:
    """What is rendered of one object.

    The world: z up, origin in the object, x towards its front, the cameras' median distance 1.
    """

    model: SparseModel
    images_srgb: tuple[ByteArray, ...]  # (S, S, 3) a view
    depths: tuple[FloatArray, ...]  # (S, S) a view, of the object alone; 0 elsewhere
    masks: tuple[BoolArray, ...]  # (S, S) a view
    cloud: PointCloud
    places: tuple[Place, ...]


@dataclass(frozen=True, kw_only=True)
class _Still:
    """A camera that stands; what :func:`render_frame` asks of a walk."""

    pose: FloatArray

    def cam_from_room(self, time_s: float) -> FloatArray:
        return self.pose

    def object_from_room(self, time_s: float) -> FloatArray:
        return np.eye(3)


def instance_seed(options: SimulateDatasetOptions, label: str, number: int) -> int:
    """Return the seed of an object: it depends on the dataset's seed, the class and the number alone."""
    words = np.random.SeedSequence([options.seed, CLASS_LABELS.index(label), number]).generate_state(1)
    return int(words[0] >> 2)


def render_object(
    label: str, seed: int, options: SimulateDatasetOptions, progress: Progress
) -> SimulatedObject:
    """Render all views of one object.

    Parameters
    ----------
    label
        One of :data:`CLASS_LABELS`.
    """
    rng = np.random.default_rng([seed, 83])
    mesh = make_instance(label, seed, resolution=min(96, 40 + options.size // 16))
    look = _look(rng, seed, options)
    scene = make_scene(look, mesh, _make_other)
    focal_px = _FOCAL_SHARE * options.size
    K = np.array([[focal_px, 0, options.size / 2], [0, focal_px, options.size / 2], [0, 0, 1.0]])
    centre = np.array([0.0, 0.0, 0.5 * mesh.vertices[:, 2].max()])
    distance_m = _distance(look, options, mesh, centre, focal_px) * rng.uniform(1.02, 1.2)
    places = draw_places(rng, options)
    poses = [_pose(place, centre, distance_m, rng) for place in places]
    light = bake_light(scene, np.eye(3), _LIGHT_SAMPLES)
    frames = []
    for number, pose in enumerate(poses):
        frames.append(render_frame(scene, _Still(pose=pose), K, 0.0, number, light))
        progress((number + 1) / len(poses))
    return _in_own_world(scene, frames, places, K, centre, distance_m, seed)


def _make_other(name: str, seed: int) -> TriangleMesh:
    """Make a neighbour of any class; ``name`` is one of the single scene's shapes and does not matter."""
    return make_instance(CLASS_LABELS[seed % len(CLASS_LABELS)], seed, resolution=32)


def draw_places(rng: np.random.Generator, options: SimulateDatasetOptions) -> tuple[Place, ...]:
    """Draw where the views stand: evenly along the arc but for some jitter."""
    whole = options.arc_deg >= 360
    step = options.arc_deg / (options.views if whole else max(options.views - 1, 1))
    start = 0.0 if options.start == "canonical" else rng.uniform(-180, 180)
    azimuth = start + step * np.arange(options.views)
    azimuth += rng.uniform(-1, 1, options.views) * options.jitter_deg
    elevation = rng.uniform(*options.elevation_deg, options.views)
    distance = rng.uniform(0.96, 1.04, options.views)
    distance /= np.median(distance)
    return tuple(
        Place(azimuth_deg=float((a + 180) % 360 - 180), elevation_deg=float(e), distance=float(d))
        for a, e, d in zip(azimuth, elevation, distance, strict=True)
    )


def _look(rng: np.random.Generator, seed: int, options: SimulateDatasetOptions) -> SimulateOptions:
    """Draw table, background, texture, gloss and light."""
    cluttered = rng.uniform() < options.clutter
    return SimulateOptions(
        seed=seed,
        size=(options.size, options.size),
        table=("wood", "stone", "plain")[int(rng.choice(3, p=(0.4, 0.4, 0.2)))],
        table_radius=float(rng.uniform(1.8, 4.0)),
        plain_background=bool(rng.uniform() < 0.2),
        texture=float(rng.choice([0.0, 0.35, 0.7, 1.0])),
        gloss=float(rng.choice([0.0, 0.05, 0.12, 0.3])),
        exposure=float(rng.uniform(0.6, 1.35)),
        noise=float(rng.uniform(0.003, 0.012)),
        clutter=int(rng.integers(1, 5)) if cluttered else 0,
    )


def _distance(
    look: SimulateOptions,
    options: SimulateDatasetOptions,
    mesh: TriangleMesh,
    centre: FloatArray,
    focal_px: float,
) -> float:
    """Return how far the camera stands off, in metres, to show the whole object from everywhere."""
    hull = mesh.vertices[ConvexHull(mesh.vertices).vertices] - centre
    low, high = options.elevation_deg
    angles = (low, 0.5 * (low + high), high)
    return 1.06 * max(standoff(replace(look, elevation_deg=angle), hull, focal_px) for angle in angles)


def _pose(place: Place, centre: FloatArray, distance_m: float, rng: np.random.Generator) -> FloatArray:
    """Return cam_from_world (4, 4) in metres: the camera looks near the centre, a little rolled."""
    a, e = np.radians(place.azimuth_deg), np.radians(place.elevation_deg)
    away = np.array([np.cos(a) * np.cos(e), np.sin(a) * np.cos(e), np.sin(e)])
    position = centre + distance_m * place.distance * away
    forward = -away + rng.uniform(-0.012, 0.012, 3)
    forward /= np.linalg.norm(forward)
    side = np.cross(forward, [0.0, 0.0, 1.0])
    side /= np.linalg.norm(side)
    down = np.cross(forward, side)
    roll = rng.uniform(-0.05, 0.05)
    c, s = np.cos(roll), np.sin(roll)
    out = np.eye(4)
    out[:3, :3] = np.stack([c * side + s * down, c * down - s * side, forward])
    out[:3, 3] = -out[:3, :3] @ position
    return out


def _in_own_world(
    scene: Scene,
    frames: list[RenderedFrame],
    places: tuple[Place, ...],
    K: FloatArray,
    centre: FloatArray,
    distance_m: float,
    seed: int,
) -> SimulatedObject:
    """Move the origin into the object and let the median distance be 1."""
    size = scene.options.size[0]
    camera = Camera(model="PINHOLE", width=size, height=size, params=(K[0, 0], K[1, 1], K[0, 2], K[1, 2]))
    views = []
    for number, frame in enumerate(frames):
        pose = frame.cam_from_object.copy()
        pose[:3, 3] = (pose[:3, :3] @ centre + pose[:3, 3]) / distance_m
        still = Frame(index=number + 1, image=f"{number + 1:03d}.jpg", source_index=number, timestamp_s=None)
        views.append(View(frame=still, camera=camera, cam_from_world=pose))
    depths = tuple(frame.depth.astype(np.float64) / distance_m for frame in frames)
    images = tuple(frame.image_srgb for frame in frames)
    points, normals = _surface(scene.object_mesh, CLOUD_POINTS, np.random.default_rng([seed, 89]))
    points = (points - centre) / distance_m
    seen, colors = _seen(points, views, depths, images)
    kept = seen.any(axis=0)
    cloud = PointCloud(
        points_in_world=points[kept].astype(np.float32),
        normals=normals[kept].astype(np.float32),
        colors=colors[kept],
        num_views=np.minimum(seen[:, kept].sum(axis=0), 255).astype(np.uint8),
    )
    tracked = np.flatnonzero(seen.sum(axis=0) >= 2)[:SPARSE_POINTS]
    model = SparseModel(
        views=tuple(views),
        points_in_world=points[tracked],
        colors=colors[tracked],
        errors_px=np.zeros(len(tracked)),
        observations=tuple(np.flatnonzero(row[tracked]) for row in seen),
    )
    masks = tuple(frame.mask for frame in frames)
    return SimulatedObject(
        model=model, images_srgb=images, depths=depths, masks=masks, cloud=cloud, places=places
    )


def _surface(mesh: TriangleMesh, count: int, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """Return points (N, 3) drawn evenly from a surface, and their normals."""
    corners = mesh.vertices[mesh.faces]  # (F, 3, 3)
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    face = rng.choice(len(area), size=count, p=area / area.sum())
    a, b = rng.uniform(size=(2, count))
    flip = a + b > 1
    a, b = np.where(flip, 1 - a, a), np.where(flip, 1 - b, b)
    weights = np.stack([1 - a - b, a, b], axis=1)[..., None]
    normals = (mesh.normals[mesh.faces[face]] * weights).sum(axis=1)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    return (corners[face] * weights).sum(axis=1), normals


def _seen(
    points: FloatArray, views: list[View], depths: tuple[FloatArray, ...], images: tuple[ByteArray, ...]
) -> tuple[BoolArray, ByteArray]:
    """Return which view sees which point (V, N), and the points' mean colours (N, 3)."""
    seen = np.zeros((len(views), len(points)), dtype=bool)
    total = np.zeros((len(points), 3))
    for number, view in enumerate(views):
        in_cam = points @ view.cam_from_world[:3, :3].T + view.cam_from_world[:3, 3]
        uv = in_cam[:, :2] / in_cam[:, 2:] * view.camera.params[:2] + view.camera.params[2:]
        col, row = np.floor(uv).astype(int).T
        inside = (col >= 0) & (row >= 0) & (col < view.camera.width) & (row < view.camera.height)
        inside &= in_cam[:, 2] > 0
        at = np.flatnonzero(inside)
        measured = depths[number][row[at], col[at]]
        at = at[(measured > 0) & (np.abs(measured - in_cam[at, 2]) < 0.012)]
        seen[number, at] = True
        total[at] += images[number][row[at], col[at]]
    return seen, np.rint(total / np.maximum(seen.sum(axis=0), 1)[:, None]).astype(np.uint8)
