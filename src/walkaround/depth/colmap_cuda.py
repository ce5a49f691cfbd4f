"""COLMAP's CUDA PatchMatch stereo as a depth backend, where a GPU and a pycolmap with CUDA are there."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from walkaround.depth.options import DepthOptions
from walkaround.depth.views import working_size
from walkaround.errors import UsageError
from walkaround.io.colmap import load_pycolmap, write_sparse_model
from walkaround.types import BoolArray, Float32Array, Progress, SparseModel


def cuda_available() -> bool:
    """Return True when pycolmap was built with CUDA and sees a device."""
    pycolmap = load_pycolmap()
    return bool(getattr(pycolmap, "has_cuda", False)) and pycolmap.get_num_cuda_devices() > 0


def require_cuda() -> None:
    """Raise UsageError without a CUDA device or with a pycolmap without CUDA."""
    if not cuda_available():
        raise UsageError(
            "--depth.backend colmap_cuda needs a CUDA device and a pycolmap built with CUDA; "
            "leave the option out to compute on the CPU."
        )


def run_colmap_cuda(
    image_dir: Path, model: SparseModel, options: DepthOptions, progress: Progress
) -> Iterator[tuple[int, Float32Array, BoolArray, Float32Array]]:
    """Yield (view index, depth, depth_valid, confidence) of the undistorted views at working size."""
    pycolmap = load_pycolmap()
    with tempfile.TemporaryDirectory(prefix="walkaround-") as scratch:
        sparse, dense = Path(scratch, "sparse"), Path(scratch, "dense")
        sparse.mkdir()
        write_sparse_model(sparse, model)
        undistort = pycolmap.UndistortCameraOptions()
        undistort.max_image_size = options.max_size
        undistort.blank_pixels = 0.0
        pycolmap.undistort_images(str(dense), str(sparse), str(image_dir), undistort_options=undistort)
        stereo = pycolmap.PatchMatchOptions()
        stereo.geom_consistency = True
        pycolmap.patch_match_stereo(str(dense), options=stereo)
        progress(0.95)
        pinholes = pycolmap.Reconstruction(str(dense / "sparse"))
        by_name = {image.name: image for image in pinholes.images.values()}
        for index, view in enumerate(model.views):
            depth = read_colmap_map(dense / "stereo" / "depth_maps" / f"{view.frame.image}.geometric.bin")
            # COLMAP's undistorted camera differs from ours: bring its map to our pinhole
            camera = pinholes.cameras[by_name[view.frame.image].camera_id]
            yield (
                index,
                *_to_our_pinhole(depth, np.array(camera.calibration_matrix()), model, index, options),
            )


def _to_our_pinhole(
    depth: Float32Array, K_theirs: np.ndarray, model: SparseModel, index: int, options: DepthOptions
) -> tuple[Float32Array, BoolArray, Float32Array]:
    camera = model.views[index].camera
    width, height = working_size(camera, options.max_size)
    K = camera.scaled(width, height).K
    u, v = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    x = (u - K[0, 2]) / K[0, 0] * K_theirs[0, 0] + K_theirs[0, 2] - 0.5
    y = (v - K[1, 2]) / K[1, 1] * K_theirs[1, 1] + K_theirs[1, 2] - 0.5
    mapped = cv2.remap(depth, x.astype(np.float32), y.astype(np.float32), cv2.INTER_NEAREST)
    valid = mapped > 0
    return mapped, valid, valid.astype(np.float32)


def read_colmap_map(path: Path) -> Float32Array:
    """Read COLMAP's dense map: ``width&height&channels&`` then float32, column-major."""
    data = path.read_bytes()
    width, height, channels = (int(part) for part in data.split(b"&", 3)[:3])
    start = len(data) - 4 * width * height * channels
    values = np.frombuffer(data, dtype="<f4", offset=start)
    return np.array(values.reshape(width, height, channels, order="F")[..., 0].T, dtype=np.float32)
