"""Matches in a scratch COLMAP database."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from walkaround.cameras.ladder import Attempt
from walkaround.io.colmap import load_pycolmap
from walkaround.types import IntArray


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
    pairing = pycolmap.ImportedPairingOptions()
    pairing.match_list_path = scratch_dir / "pairs.txt"
    pairing.match_list_path.write_text("".join(f"{a} {b}\n" for a, b in pairs))
    pycolmap.match_image_pairs(
        database,
        matching_options=matching,
        pairing_options=pairing,
        verification_options=verification_options(attempt, seed),
        device=pycolmap.Device.cpu,
    )


def verification_options(attempt: Attempt, seed: int) -> Any:
    """Return the ``pycolmap.TwoViewGeometryOptions`` of an attempt."""
    verification = load_pycolmap().TwoViewGeometryOptions()
    verification.ransac.random_seed = seed
    verification.min_num_inliers = attempt.min_inliers
    verification.ransac.max_num_trials = attempt.max_trials
    return verification


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
