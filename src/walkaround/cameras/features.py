"""Features of the frames, written to a scratch COLMAP database.

Two detectors of SIFT features (Lowe 2004, 10.1023/B:VISI.0000029664.99615.94). COLMAP's keeps the largest
ones and knows affine shape and domain-size pooling; OpenCV's keeps those of most contrast, takes a third of
the time on a CPU, and holds fewer views together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from walkaround.cameras.ladder import Attempt
from walkaround.cameras.options import CamerasOptions
from walkaround.errors import SequenceRejected
from walkaround.io.colmap import load_pycolmap
from walkaround.io.depth import read_grey
from walkaround.types import ByteArray, Float32Array, Frame

FOCAL_FACTOR = 1.2
"""Focal length over the long side when nothing is known (a phone's main camera is about 0.8 to 1.2)."""
CONTRAST = 0.013
"""OpenCV's contrast threshold; a third of its default, for smooth objects."""

Sizes = dict[tuple[int, int], list[str]]
"""Image names by (width, height)."""


def read_frame(path: Path, flags: int = cv2.IMREAD_GRAYSCALE) -> ByteArray:
    """Read a frame (H, W), or (H, W, 3) blue first with ``cv2.IMREAD_COLOR``, as its pixels are stored.

    Raises
    ------
    SequenceRejected
        It cannot be read.
    """
    image = cv2.imread(str(path), flags | cv2.IMREAD_IGNORE_ORIENTATION)
    if image is None:
        raise SequenceRejected("cameras_failed", f"The frame {path.name} cannot be read as an image.")
    return np.asarray(image, dtype=np.uint8)


def frame_sizes(image_dir: Path, frames: tuple[Frame, ...]) -> Sizes:
    """Group image names by size.

    Raises
    ------
    SequenceRejected
        An image cannot be read.
    """
    groups: Sizes = defaultdict(list)
    for frame in frames:
        image = read_frame(image_dir / frame.image)
        groups[(image.shape[1], image.shape[0])].append(frame.image)
    return dict(groups)


def extract_features(
    database: Path,
    image_dir: Path,
    sizes: Sizes,
    *,
    attempt: Attempt,
    options: CamerasOptions,
    focal_prior_px: float | None,
    num_threads: int,
    mask_dir: Path | None = None,
) -> None:
    """Register images and cameras (one a frame size) in a new database, with their features.

    ``focal_prior_px`` belongs to the most frequent size and is scaled by the long side for the others.
    ``mask_dir`` holds ``<image name>.png``: features are kept where it is not 0.
    """
    pycolmap = load_pycolmap()
    pycolmap.Database.open(database).close()
    main_size = max(sorted(sizes), key=lambda size: len(sizes[size]))
    for (width, height), names in sizes.items():
        reader = pycolmap.ImageReaderOptions()
        reader.camera_model = options.camera_model
        reader.default_focal_length_factor = FOCAL_FACTOR
        if mask_dir is not None:
            reader.mask_path = mask_dir
        if focal_prior_px is not None:
            focal = focal_prior_px * max(width, height) / max(main_size)
            reader.camera_params = _initial_params(options.camera_model, focal, width, height)
        # First, and in order: COLMAP's threads number images as they finish, and the poses depend on it.
        pycolmap.import_images(database, image_dir, pycolmap.CameraMode.SINGLE, names, reader)
        detector = "colmap" if attempt.affine else options.detector
        EXTRACTORS[detector](database, image_dir, names, reader, attempt, options, num_threads)


def _initial_params(model: str, focal: float, width: int, height: int) -> str:
    focals = [focal] if model in ("SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL") else [focal, focal]
    distortion = {"SIMPLE_RADIAL": 1, "RADIAL": 2, "OPENCV": 4}.get(model, 0)
    return ",".join(str(v) for v in [*focals, width / 2, height / 2, *([0.0] * distortion)])


def _extract_colmap(
    database: Path,
    image_dir: Path,
    names: list[str],
    reader: Any,
    attempt: Attempt,
    options: CamerasOptions,
    num_threads: int,
) -> None:
    pycolmap = load_pycolmap()
    extraction = pycolmap.FeatureExtractionOptions()
    extraction.num_threads = num_threads
    extraction.use_gpu = False
    extraction.max_image_size = round(options.max_image_size_px * attempt.image_scale)
    sift = extraction.sift
    sift.max_num_features = round(options.max_features * attempt.feature_scale)
    sift.max_num_orientations = 1
    sift.estimate_affine_shape = attempt.affine
    sift.domain_size_pooling = attempt.affine
    pycolmap.extract_features(
        database,
        image_dir,
        image_names=names,
        camera_mode=pycolmap.CameraMode.SINGLE,
        reader_options=reader,
        extraction_options=extraction,
        device=pycolmap.Device.cpu,
    )


def _extract_opencv(
    database: Path,
    image_dir: Path,
    names: list[str],
    reader: Any,
    attempt: Attempt,
    options: CamerasOptions,
    num_threads: int,
) -> None:
    max_side = round(options.max_image_size_px * attempt.image_scale)
    limit = round(options.max_features * attempt.feature_scale)
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)  # one image a thread; the same keypoints in the same order in each run
    try:
        with ThreadPoolExecutor(max(num_threads, 1)) as pool:
            found = list(
                pool.map(lambda n: sift_features(image_dir / n, max_side, limit, mask_of(reader, n)), names)
            )
    finally:
        cv2.setNumThreads(before)
    pycolmap = load_pycolmap()
    db = pycolmap.Database.open(database)
    try:
        ids = {image.name: image.image_id for image in db.read_all_images()}
        for name, (keypoints, descriptors) in zip(names, found, strict=True):
            db.write_keypoints(ids[name], keypoints)
            features = pycolmap.FeatureDescriptors()
            features.data = descriptors
            features.type = pycolmap.FeatureExtractorType.SIFT
            db.write_descriptors(ids[name], features)
    finally:
        db.close()


def mask_of(reader: Any, name: str) -> ByteArray | None:
    """Return the mask (H, W) in which an image's features are wanted; None for everywhere."""
    if str(reader.mask_path) in ("", "."):
        return None
    return read_grey(Path(reader.mask_path) / f"{name}.png")


def sift_features(
    path: Path, max_side: int, limit: int, mask: ByteArray | None = None
) -> tuple[Float32Array, ByteArray]:
    """Return COLMAP keypoints (N, 6) x y and affine shape, and RootSIFT descriptors (N, 128) of an image.

    Keypoints are in the pixels of the file, whatever the size they were found at; OpenCV's pixel centres
    at integers become COLMAP's at halves. RootSIFT: Arandjelovic and Zisserman 2012,
    10.1109/CVPR.2012.6248018.

    Raises
    ------
    SequenceRejected
        The image cannot be read.
    """
    image = read_frame(path)
    height, width = image.shape
    scale = min(1.0, max_side / max(height, width))
    if scale < 1.0:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    if mask is not None:
        mask = cv2.resize(mask, (image.shape[1], image.shape[0]), interpolation=cv2.INTER_NEAREST)
    found, raw = cv2.SIFT.create(nfeatures=limit, contrastThreshold=CONTRAST).detectAndCompute(image, mask)
    if raw is None or len(found) == 0:
        return np.zeros((0, 6), np.float32), np.zeros((0, 128), np.uint8)
    to_file = np.array([width / image.shape[1], height / image.shape[0]])
    xy = (np.array([keypoint.pt for keypoint in found]) + 0.5) * to_file
    radius = np.array([keypoint.size for keypoint in found]) / 2 * to_file.mean()
    angle = np.radians([keypoint.angle for keypoint in found])
    c, s = radius * np.cos(angle), radius * np.sin(angle)
    keypoints = np.column_stack([xy, c, -s, s, c]).astype(np.float32)
    root = np.sqrt(raw / np.maximum(raw.sum(axis=1, keepdims=True), 1e-9))
    return keypoints, np.clip(np.round(512 * root), 0, 255).astype(np.uint8)


Extractor = Callable[[Path, Path, list[str], Any, Attempt, CamerasOptions, int], None]
EXTRACTORS: dict[str, Extractor] = {"colmap": _extract_colmap, "opencv": _extract_opencv}
"""By ``CamerasOptions.detector``."""
