"""Features and matches in a scratch COLMAP database."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from walkaround.cameras.ladder import Attempt
from walkaround.cameras.options import CamerasOptions
from walkaround.errors import SequenceRejected
from walkaround.io.colmap import load_pycolmap
from walkaround.types import Frame, IntArray

FOCAL_FACTOR = 1.2
"""Focal length over the long side when nothing is known (a phone's main camera is about 0.8 to 1.2)."""


def frame_sizes(image_dir: Path, frames: tuple[Frame, ...]) -> dict[tuple[int, int], list[str]]:
    """Group image names by (width, height).

    Raises
    ------
    SequenceRejected
        An image cannot be read.
    """
    groups: dict[tuple[int, int], list[str]] = defaultdict(list)
    for frame in frames:
        image = cv2.imread(str(image_dir / frame.image), cv2.IMREAD_GRAYSCALE)
        if image is None:
            raise SequenceRejected("cameras_failed", f"The frame {frame.image} cannot be read as an image.")
        groups[(image.shape[1], image.shape[0])].append(frame.image)
    return dict(groups)


def extract_features(
    database: Path,
    image_dir: Path,
    sizes: dict[tuple[int, int], list[str]],
    *,
    attempt: Attempt,
    options: CamerasOptions,
    focal_prior_px: float | None,
    num_threads: int,
) -> None:
    """Find SIFT features (Lowe 2004, 10.1023/B:VISI.0000029664.99615.94); one camera a frame size.

    ``focal_prior_px`` belongs to the most frequent size and is scaled by the long side for the others.
    """
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
    main_size = max(sorted(sizes), key=lambda size: len(sizes[size]))
    for (width, height), names in sizes.items():
        reader = pycolmap.ImageReaderOptions()
        reader.camera_model = options.camera_model
        reader.default_focal_length_factor = FOCAL_FACTOR
        if focal_prior_px is not None:
            focal = focal_prior_px * max(width, height) / max(main_size)
            reader.camera_params = _initial_params(options.camera_model, focal, width, height)
        pycolmap.extract_features(
            database,
            image_dir,
            image_names=names,
            camera_mode=pycolmap.CameraMode.SINGLE,
            reader_options=reader,
            extraction_options=extraction,
            device=pycolmap.Device.cpu,
        )


def _initial_params(model: str, focal: float, width: int, height: int) -> str:
    focals = [focal] if model in ("SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL") else [focal, focal]
    distortion = {"SIMPLE_RADIAL": 1, "RADIAL": 2, "OPENCV": 4}.get(model, 0)
    return ",".join(str(v) for v in [*focals, width / 2, height / 2, *([0.0] * distortion)])


def match_pairs(
    database: Path,
    pairs: list[tuple[str, str]],
    *,
    attempt: Attempt,
    seed: int,
    num_threads: int,
    scratch_dir: Path,
) -> None:
    """Match and verify image pairs; pairs matched already are not matched again."""
    pycolmap = load_pycolmap()
    matching = pycolmap.FeatureMatchingOptions()
    matching.num_threads = num_threads
    matching.use_gpu = False
    matching.guided_matching = attempt.guided
    matching.sift.max_ratio = attempt.max_ratio
    verification = pycolmap.TwoViewGeometryOptions()
    verification.ransac.random_seed = seed
    verification.min_num_inliers = attempt.min_inliers
    verification.ransac.max_num_trials = attempt.max_trials
    pairing = pycolmap.ImportedPairingOptions()
    pairing.match_list_path = scratch_dir / "pairs.txt"
    pairing.match_list_path.write_text("".join(f"{a} {b}\n" for a, b in pairs))
    pycolmap.match_image_pairs(
        database,
        matching_options=matching,
        pairing_options=pairing,
        verification_options=verification,
        device=pycolmap.Device.cpu,
    )


def read_top_descriptors(database: Path, limit: int) -> dict[str, Any]:
    """Return by image name the unit descriptors (n, 128) float32 of the ``limit`` largest features."""
    pycolmap = load_pycolmap()
    db = pycolmap.Database.open(database)
    out: dict[str, Any] = {}
    try:
        for image in sorted(db.read_all_images(), key=lambda im: im.name):
            keypoints = db.read_keypoints(image.image_id)
            data = np.asarray(db.read_descriptors(image.image_id).data, dtype=np.float32)
            if len(keypoints) == 0:
                out[image.name] = np.zeros((0, 128), np.float32)
                continue
            scale = np.linalg.norm(keypoints[:, 2:4], axis=1) if keypoints.shape[1] >= 4 else keypoints[:, 2]
            top = np.argsort(-scale, kind="stable")[:limit]
            chosen = data[top]
            out[image.name] = chosen / np.maximum(np.linalg.norm(chosen, axis=1, keepdims=True), 1e-9)
    finally:
        db.close()
    return out


def similarity_counts(descriptors: list[Any], *, max_ratio: float = 0.85) -> IntArray:
    """Count mutual nearest neighbours that pass the ratio test, for all pairs: (N, N) symmetric."""
    n = len(descriptors)
    counts = np.zeros((n, n), dtype=np.int64)
    for i in range(n):
        for j in range(i + 1, n):
            a, b = descriptors[i], descriptors[j]
            if len(a) < 2 or len(b) < 2:
                continue
            similarity = a @ b.T
            forward, backward = similarity.argmax(axis=1), similarity.argmax(axis=0)
            best = similarity[np.arange(len(a)), forward]
            second = np.partition(similarity, -2, axis=1)[:, -2]
            distance, next_distance = 2 - 2 * best, 2 - 2 * second
            good = (backward[forward] == np.arange(len(a))) & (distance < max_ratio**2 * next_distance)
            counts[i, j] = counts[j, i] = int(good.sum())
    return counts
