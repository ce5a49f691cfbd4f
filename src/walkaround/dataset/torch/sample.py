"""A sample: some views of one scene as tensors."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np

from walkaround.dataset.torch.choose import choose_views
from walkaround.dataset.torch.options import ViewOptions
from walkaround.dataset.torch.source import PosedScene
from walkaround.dataset.torch.view import LoadedView, load_view
from walkaround.errors import FormatError, WalkaroundError
from walkaround.geometry import normalised_rays
from walkaround.types import Camera, Float32Array, FloatArray

Sample = dict[str, Any]


def load_sample(posed: PosedScene, options: ViewOptions, epoch: int) -> Sample:
    """Return the views that a scene gives in an epoch: the same wherever and whenever it is loaded.

    Raises
    ------
    FormatError
        Something is missing or broken.
    """
    import torch

    key = posed.scene.key
    rng = np.random.default_rng([options.seed, epoch, zlib.crc32(key.encode("utf-8", "surrogateescape"))])
    try:
        chosen = choose_views(posed.cam_from_world, options, rng)
        views = [load_view(posed, int(number), options, rng) for number in chosen]
    except WalkaroundError as error:
        raise FormatError(f"{key}: {error}") from error
    poses = posed.cam_from_world[chosen]
    scale = 1.0
    sample: Sample = {
        "key": key,
        "class_label": posed.scene.class_label,
        "images": [posed.images[number] for number in chosen],
        "view_index": torch.from_numpy(chosen.astype(np.int64)),
    }
    if options.normalise:
        normalised_from_world, scale = normalisation(posed.cam_from_world)
        poses = normalised_poses(poses, normalised_from_world, scale)
        sample["normalised_from_world"] = torch.from_numpy(normalised_from_world.astype(np.float32))
    arrays = {**_camera_arrays(views, poses), **_pixel_arrays(views, scale)}
    if options.rays:
        arrays |= ray_arrays(views, poses)
    return sample | {name: torch.from_numpy(array) for name, array in arrays.items()}


def _camera_arrays(views: list[LoadedView], cam_from_world: FloatArray) -> dict[str, Any]:
    world_from_first = np.linalg.inv(cam_from_world[0])
    return {
        "K": np.stack([view.K for view in views]).astype(np.float32),
        "distortion": np.stack([view.distortion for view in views]).astype(np.float32),
        "cam_from_world": cam_from_world.astype(np.float32),
        "cam_from_first": (cam_from_world @ world_from_first).astype(np.float32),
        "crop_xywh": np.array([[v.crop.left, v.crop.top, v.crop.side, v.crop.side] for v in views]),
    }


def _pixel_arrays(views: list[LoadedView], scale: float) -> dict[str, Any]:
    """Return images and what lies over them, (N, C, S, S)."""
    size = views[0].crop.size_px
    image = np.empty((len(views), 3, size, size), np.uint8)
    for out, view in zip(image, views, strict=True):
        out[:] = view.image_bgr[..., ::-1].transpose(2, 0, 1)
    arrays: dict[str, Any] = {"image_srgb": image}
    masks = [view.mask for view in views if view.mask is not None]
    if masks:
        arrays["fg_probability"] = np.stack(masks)[:, None].astype(np.float32) / np.float32(255)
    depth = [view.depth for view in views if view.depth is not None]
    if depth:
        arrays["depth"] = np.stack(depth)[:, None] * np.float32(scale)
        arrays["depth_valid"] = np.stack([v.depth_valid for v in views if v.depth_valid is not None])[:, None]
    return arrays


def ray_arrays(views: list[LoadedView], cam_from_world: FloatArray) -> dict[str, Float32Array]:
    """Return where the rays of the pixels' centres start, (N, 3), and their unit directions, (N, 3, S, S)."""
    directions, origins = [], []
    for view, pose in zip(views, cam_from_world, strict=True):
        size, K = view.crop.size_px, view.K
        params = (K[0, 0], K[1, 1], K[0, 2], K[1, 2], *view.distortion)
        camera = Camera(model="OPENCV", width=size, height=size, params=tuple(map(float, params)))
        rays = np.ones((size, size, 3))
        rays[..., :2] = normalised_rays(camera)
        rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
        directions.append((rays @ pose[:3, :3]).transpose(2, 0, 1).astype(np.float32))
        origins.append((-pose[:3, :3].T @ pose[:3, 3]).astype(np.float32))
    return {"ray_origins_in_world": np.stack(origins), "ray_directions_in_world": np.stack(directions)}


def normalisation(cam_from_world: FloatArray) -> tuple[FloatArray, float]:
    """Return ``normalised_from_world``, (4, 4) with the scale in it, and the scale.

    The origin goes to the point with the least sum of squared distances to the optical axes; where these are
    all but parallel, to the middle of the cameras. The median distance of the cameras becomes 1.
    """
    rotations, shifts = cam_from_world[:, :3, :3], cam_from_world[:, :3, 3]
    centres = -np.einsum("vji,vj->vi", rotations, shifts)
    axes = rotations[:, 2]
    across = np.eye(3) - axes[:, :, None] * axes[:, None, :]
    total = across.sum(axis=0)
    middle = centres.mean(axis=0)
    if np.linalg.eigvalsh(total)[0] > 1e-4 * len(axes):
        middle = np.linalg.solve(total, np.einsum("vij,vj->i", across, centres))
    distance = float(np.median(np.linalg.norm(centres - middle, axis=1)))
    scale = 1 / distance if distance > 0 else 1.0
    out = np.diag([scale, scale, scale, 1.0])
    out[:3, 3] = -scale * middle
    return out, scale


def normalised_poses(
    cam_from_world: FloatArray, normalised_from_world: FloatArray, scale: float
) -> FloatArray:
    """Return rigid poses in the normalised world; distances in the camera are scaled with it."""
    out = cam_from_world @ np.linalg.inv(normalised_from_world)
    out[:, :3] *= scale
    return out
