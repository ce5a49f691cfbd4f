"""Learned features beside SIFT: they hold views together that lie too far apart for SIFT.

They join the SIFT features of the attempt before in a copy of its database, and a pair is verified with the
matches of both: SIFT places a keypoint more precisely, learned matches reach further. Pairs that SIFT holds
well are left as they are.
"""

from __future__ import annotations

import shutil
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from walkaround.cameras.database import similarity_counts, verification_options
from walkaround.cameras.features import read_frame
from walkaround.cameras.ladder import Attempt
from walkaround.cameras.options import CamerasOptions
from walkaround.cameras.pairs import sequential_pairs, similar_pairs
from walkaround.cameras.xfeat import XFeat
from walkaround.errors import UsageError
from walkaround.io.colmap import load_pycolmap
from walkaround.io.depth import read_grey
from walkaround.types import ByteArray, Float32Array, FloatArray, IntArray

HINT = "pip install 'walkaround[learned]'"
TOP_FEATURES = 600
"""Features that images are compared by when pairs are chosen."""
FEW_IMAGES = 12
"""So few are matched all with all."""
PARTNERS = (3, 8)
"""Fewest and most similar images that each of many photos is matched with ..."""
PAIR_BUDGET = 150
"""... so that about so many pairs are matched."""
OVERLAP, LOOPS = 4, 2
"""Following and similar frames that each frame of a video is matched with, at most."""
HELD = 100
"""Pairs with so many verified SIFT matches need no learned ones."""

Features = tuple[FloatArray, Float32Array, tuple[int, int]]
"""Keypoints (N, 2) in COLMAP's pixels of the file, descriptors (N, D), size (width, height) of the file."""


class Backend(Protocol):
    """What finds and matches learned features."""

    STRIDE: int

    @classmethod
    def missing(cls) -> list[str]:
        """Return the packages that are not installed."""

    def threads(self, count: int) -> AbstractContextManager[None]:
        """Limit the CPU threads inside."""

    def extract(self, grey: ByteArray, limit: int) -> tuple[FloatArray, Float32Array]:
        """Return keypoints (N, 2) with pixel centres at integers, and unit descriptors (N, D); best first."""

    def match(self, first: Features, second: Features) -> IntArray:
        """Return (M, 2) keypoint indices."""


BACKENDS: dict[str, type[Backend]] = {"xfeat": XFeat}
"""By name; the ladder uses ``BACKEND``."""
BACKEND = "xfeat"


def can_learn(options: CamerasOptions) -> bool:
    """Return True when learned features are wanted and their packages are installed.

    Raises
    ------
    UsageError
        They were asked for, and a package is missing.
    """
    missing = BACKENDS[BACKEND].missing() if options.learned != "off" else []
    if missing and options.learned == "only":
        raise UsageError(f"--cameras.learned only needs {', '.join(missing)}: {HINT}.")
    return options.learned != "off" and not missing


def add_learned_features(
    base: Path,
    target: Path,
    image_dir: Path,
    names: list[str],
    *,
    attempt: Attempt,
    options: CamerasOptions,
    ordered: bool,
    seed: int,
    num_threads: int,
    mask_dir: Path | None = None,
) -> None:
    """Write ``target``: the database ``base`` with learned features and their verified matches added.

    Parameters
    ----------
    base
        A database with features and verified matches of ``names``.
    ordered
        ``names`` follow each other in time.
    mask_dir
        Holds ``<image name>.png``: features are kept where it is not 0.

    Raises
    ------
    SequenceRejected
        An image cannot be read.
    """
    backend = BACKENDS[BACKEND]()
    max_side = round(options.max_image_size_px * attempt.image_scale)
    with backend.threads(num_threads):
        features = [
            learned_features(image_dir / name, backend, max_side, options.learned_features) for name in names
        ]
        if mask_dir is not None:
            features = [
                masked(found, read_grey(mask_dir / f"{name}.png"))
                for name, found in zip(names, features, strict=True)
            ]
        held = read_held_pairs(base)
        chosen = learned_pairs([f[1][:TOP_FEATURES] for f in features], options, ordered=ordered)
        pairs = [(i, j) for i, j in sorted(chosen) if frozenset((names[i], names[j])) not in held]
        matches = {(names[i], names[j]): backend.match(features[i], features[j]) for i, j in pairs}
    partial = target.with_suffix(".partial")
    shutil.copyfile(base, partial)
    append_features(partial, {name: f[0] for name, f in zip(names, features, strict=True)}, matches)
    verify(partial, list(matches), attempt=attempt, seed=seed)
    partial.replace(target)


def masked(features: Features, mask: ByteArray) -> Features:
    """Return the features that lie where a mask (H, W) is not 0."""
    keypoints, descriptors, size = features
    column, row = np.floor(keypoints).astype(np.int64).T
    inside = mask[np.clip(row, 0, mask.shape[0] - 1), np.clip(column, 0, mask.shape[1] - 1)] > 0
    return keypoints[inside], descriptors[inside], size


def learned_pairs(
    descriptors: list[Float32Array], options: CamerasOptions, *, ordered: bool
) -> set[tuple[int, int]]:
    """Choose the pairs of images to match: all of few images, else neighbours in time or in looks."""
    n = len(descriptors)
    if n <= FEW_IMAGES:
        return {(i, j) for i in range(n) for j in range(i + 1, n)}
    counts = similarity_counts(descriptors)
    if ordered:
        return sequential_pairs(counts, min(options.overlap, OVERLAP), min(options.loop_pairs, LOOPS))
    partners = int(np.clip(2 * PAIR_BUDGET // n, *PARTNERS))
    return similar_pairs(counts, partners, following=1)


def read_held_pairs(database: Path) -> set[frozenset[str]]:
    """Return the pairs of names that have ``HELD`` or more verified matches."""
    pycolmap = load_pycolmap()
    db = pycolmap.Database.open(database)
    try:
        names = {image.image_id: image.name for image in db.read_all_images()}
        ids, geometries = db.read_two_view_geometries()
        return {
            frozenset(names[i] for i in pycolmap.pair_id_to_image_pair(pair_id))
            for pair_id, geometry in zip(ids, geometries, strict=True)
            if len(geometry.inlier_matches) >= HELD
        }
    finally:
        db.close()


def append_features(
    database: Path, keypoints: dict[str, FloatArray], matches: dict[tuple[str, str], IntArray]
) -> None:
    """Add keypoints (N, 2) by image behind those there, and raw matches (M, 2) between the added ones.

    A pair's geometry is forgotten, so that it is verified again with both kinds of matches.
    """
    pycolmap = load_pycolmap()
    db = pycolmap.Database.open(database)
    try:
        ids = {image.name: image.image_id for image in db.read_all_images()}
        start = {}
        for name, added in keypoints.items():
            there = db.read_keypoints(ids[name])
            start[name] = len(there)
            db.update_keypoints(ids[name], np.concatenate([there, _with_shape(added, there.shape[1])]))
        for (first, second), found in matches.items():
            pair = ids[first], ids[second]
            both = (found + np.array([start[first], start[second]])).astype(np.uint32)
            if db.exists_matches(*pair):
                both = np.concatenate([db.read_matches(*pair), both])
                db.delete_matches(*pair)
            db.write_matches(*pair, both)
            if db.exists_two_view_geometry(*pair):
                db.delete_two_view_geometry(*pair)
    finally:
        db.close()


def _with_shape(keypoints: FloatArray, columns: int) -> Float32Array:
    """Give keypoints (N, 2) the columns of COLMAP's: x y, then scale and angle or an affine shape."""
    out = np.zeros((len(keypoints), columns), np.float32)
    out[:, :2] = keypoints
    if columns >= 3:
        out[:, 2] = 1.0
    if columns == 6:
        out[:, 5] = 1.0
    return out


def verify(database: Path, pairs: list[tuple[str, str]], *, attempt: Attempt, seed: int) -> None:
    """Verify the raw matches of pairs of names by two-view geometry."""
    pycolmap = load_pycolmap()
    listed = database.with_suffix(".pairs.txt")
    listed.write_text("".join(f"{a} {b}\n" for a, b in pairs))
    pycolmap.verify_matches(database, listed, verification_options(attempt, seed))


def learned_features(path: Path, backend: Backend, max_side: int, limit: int) -> Features:
    """Find the learned features of an image file.

    The image is brought to sides that are multiples of the backend's stride and at most ``max_side``;
    keypoints are scaled back about the pixels' corners, and pixel centres at integers become COLMAP's at
    halves.

    Raises
    ------
    SequenceRejected
        The image cannot be read.
    """
    image = read_frame(path)
    height, width = image.shape
    scale = min(1.0, max_side / max(height, width))
    stride = backend.STRIDE
    size = tuple(max(stride, round(side * scale / stride) * stride) for side in (width, height))
    if size != (width, height):
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    found, descriptors = backend.extract(np.asarray(image, dtype=np.uint8), limit)
    keypoints = (found + 0.5) * (np.array([width, height]) / np.array(size))
    return np.asarray(keypoints), descriptors, (width, height)
