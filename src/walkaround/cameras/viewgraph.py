"""Verified matches between frames as plain arrays."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from walkaround.io.colmap import load_pycolmap
from walkaround.types import FloatArray, IntArray


@dataclass(frozen=True, kw_only=True)
class ViewGraph:
    """Keypoints by image name, and verified matches by pair of names (first < second)."""

    keypoints: dict[str, FloatArray]  # (K, 2) pixels each
    matches: dict[tuple[str, str], IntArray]  # (M, 2) keypoint indices each


def read_view_graph(database: Path) -> ViewGraph:
    """Read keypoints and the verified matches of all pairs from a COLMAP database."""
    pycolmap = load_pycolmap()
    db = pycolmap.Database.open(database)
    try:
        names = {image.image_id: image.name for image in db.read_all_images()}
        keypoints = {
            names[i]: np.asarray(db.read_keypoints(i), dtype=np.float64)[:, :2].reshape(-1, 2)
            for i in sorted(names)
        }
        matches: dict[tuple[str, str], IntArray] = {}
        pair_ids, geometries = db.read_two_view_geometries()
        for pair_id, geometry in zip(pair_ids, geometries, strict=True):
            found = np.asarray(geometry.inlier_matches, dtype=np.int64).reshape(-1, 2)
            if len(found) == 0:
                continue
            first, second = (names[i] for i in pycolmap.pair_id_to_image_pair(pair_id))
            if first < second:
                matches[(first, second)] = found
            else:
                matches[(second, first)] = found[:, ::-1]
    finally:
        db.close()
    return ViewGraph(keypoints=keypoints, matches=dict(sorted(matches.items())))


def delete_pairs(database: Path, pairs: list[tuple[str, str]]) -> None:
    """Forget the verified matches of pairs of image names (the raw matches stay)."""
    pycolmap = load_pycolmap()
    db = pycolmap.Database.open(database)
    try:
        ids = {image.name: image.image_id for image in db.read_all_images()}
        for first, second in pairs:
            db.delete_two_view_geometry(ids[first], ids[second])
    finally:
        db.close()
