"""How well objects that were filmed twice are found: ``python benchmarks/duplicates.py --objects 60``.

Each object is rendered three times: other table, light, lens, height, direction and length of the walk. The
sequences are the renders with their true masks. Printed are, over all pairs of captures: how many true pairs
are among the candidates, and precision and recall of what is reported, by kind of object; then what it costs,
and how the search for neighbours grows (``--index``: numbers of sequences, with random vectors).

``--root ROOT`` measures a built dataset instead: instance ids ``<object>-<take>`` say which sequences show
the same object. ``--data DATA`` takes the shared photos that have true masks, each set cut into two: its even
and its odd photos, filmed in one session.
"""

from __future__ import annotations

import os
import resource
import shutil
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tyro
from accuracy import commit, machine

from walkaround import __version__
from walkaround.dataset.catalog import rebuild_catalog
from walkaround.dataset.duplicates import Duplicates, find_duplicates
from walkaround.dataset.duplicates_options import DuplicatesOptions
from walkaround.dataset.neighbours import candidate_pairs
from walkaround.dataset.rows import read_catalog
from walkaround.dataset.schema import SequenceRecord, SourceRecord, write_record
from walkaround.simulate import SimulateOptions, simulate_capture
from walkaround.types import ByteArray

SHAPES = ("vase", "blob", "mug", "figurine", "plant", "wire")
TAKES: dict[str, dict[str, Any]] = {
    "a": {},
    "b": {"table": "stone", "elevation_deg": 40.0, "exposure": 0.6, "arc_deg": -300.0, "focal_35mm": 35.0},
    "c": {"table": "plain", "elevation_deg": 18.0, "exposure": 1.3, "arc_deg": 200.0, "clutter": 2},
}
PHOTO_SETS = ("robot", "espresso", "human-toy")
SMALL: dict[str, Any] = {"size": (320, 240), "num_frames": 12, "samples": 2}


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Measure the search for duplicates."""

    objects: int = 60
    """Objects to render, each three times."""
    work: Path | None = None
    """Keep the renders here; a second run uses them again."""
    root: Path | None = None
    """Measure this dataset instead."""
    data: Path | None = None
    """Measure the shared photos with true masks instead."""
    index: tuple[int, ...] = (10_000, 20_000, 40_000)
    """Numbers of vectors to search among."""
    threads: int = 1


def main(arguments: Arguments) -> None:
    """Print the tables."""
    print(f"machine: {machine()}; load {os.getloadavg()[0]:.1f}; walkaround {__version__}, commit {commit()}")
    with tempfile.TemporaryDirectory() as folder:
        root = arguments.root or Path(folder) / "root"
        if arguments.data is not None:
            cut_photos(arguments.data, root)
        elif arguments.root is None:
            make_dataset(arguments, root, arguments.work or Path(folder))
        measure(root, arguments.threads)
    for count in arguments.index:
        measure_index(count)


def cut_photos(data: Path, root: Path) -> None:
    """Make two sequences of each set of photos with masks."""
    for source in (data / "truth" / "bunny", *(data / "masks" / name for name in PHOTO_SETS)):
        pairs = list(zip(*(sorted((source / part).iterdir()) for part in ("images", "masks")), strict=True))
        for start, take in enumerate("ab"):
            folder = root / "photos" / f"{source.name}-{take}"
            for part in ("images", "masks"):
                (folder / part).mkdir(parents=True)
            for number, (photo, mask) in enumerate(pairs[start::2]):
                image = cv2.imread(str(photo))
                cv2.imwrite(str(folder / "images" / f"{number:03d}.jpg"), image)
                cv2.imwrite(str(folder / "masks" / f"{number:03d}.png"), read_mask(mask, image.shape[1::-1]))
            record = SequenceRecord(
                class_label="photos",
                instance_id=folder.name,
                status="accepted",
                source=SourceRecord(kind="photos", sha256=folder.name),
            )
            write_record(folder, record)
    rebuild_catalog(root)


def read_mask(path: Path, size_wh: tuple[int, int]) -> ByteArray:
    """Read a mask of any kind of PNG, in the photo's size."""
    mask = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if mask.ndim == 3:
        mask = mask[..., 3] if mask.shape[2] == 4 else mask.max(axis=2)
    plain = (mask > mask.max() // 2).astype(np.uint8) * 255
    return np.asarray(cv2.resize(plain, size_wh, interpolation=cv2.INTER_NEAREST), np.uint8)


def make_dataset(arguments: Arguments, root: Path, work: Path) -> Path:
    """Render the captures and lay them out as sequences; the object's shape is the class."""
    for number in range(arguments.objects):
        shape, seed = SHAPES[number % len(SHAPES)], number // len(SHAPES)
        for take, options in TAKES.items():
            name = f"{shape}-{seed}-{take}"
            if not (work / name / "cameras.json").exists():
                simulate_capture(
                    work / name, options=SimulateOptions(object=shape, seed=seed, **SMALL, **options)
                )
            folder = root / shape / name
            folder.mkdir(parents=True)
            for part in ("images", "masks"):
                shutil.copytree(work / name / part, folder / part)
            source = SourceRecord(kind="video", sha256=name)
            write_record(
                folder, SequenceRecord(class_label=shape, instance_id=name, status="accepted", source=source)
            )
    rebuild_catalog(root)
    return root


def measure(root: Path, threads: int) -> None:
    """Print precision and recall by shape and kind of evidence, and the cost."""
    names = [f"{row['class_label']}/{row['instance_id']}" for row in read_catalog(root)]
    cpu = time.process_time()
    found = find_duplicates(root, options=DuplicatesOptions(), num_threads=threads)
    spent = time.process_time() - cpu
    true = {(a, b) for a, b in combinations(sorted(names), 2) if object_of(a) == object_of(b)}
    print(f"{len(names)} sequences, {len(true)} pairs of the same object, {found.num_candidates} compared")
    report(found, true)
    print(f"{spent:.0f} CPU-s, {1000 * spent / len(names):.0f} ms a sequence")
    cpu = time.process_time()
    find_duplicates(root, options=DuplicatesOptions(), num_threads=threads)
    again = time.process_time() - cpu
    each = 1000 * again / found.num_candidates
    print(f"with the fingerprints kept: {again:.0f} CPU-s, {each:.0f} ms a candidate")


def report(found: Duplicates, true: set[tuple[str, str]]) -> None:
    """Print one line a shape, then the wrong pairs."""
    by_kind: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for pair in found.pairs:
        by_kind[pair.kind].add((pair.a, pair.b))
    proven = by_kind["same_object"]
    shapes = sorted({name.split("/")[0] for pair in true for name in pair})
    for shape in [*shapes, "all"]:
        some = {pair for pair in true if shape in ("all", pair[0].split("/")[0])}
        near = {pair for pair in by_kind["look_alike"] if shape in ("all", pair[0].split("/")[0])}
        said = {pair for pair in proven if shape in ("all", pair[0].split("/")[0])}
        print(
            f"  {shape:<10} proven: precision {share(said & true, said)}, recall {share(said & some, some)};"
            f"  look-alikes: {len(near)}, right {share(near & true, near)};"
            f"  both: recall {share((said | near) & some, some)}"
        )
    print(f"  wrong proven pairs: {sorted(proven - true)[:5]}")
    objects = {object_of(name) for pair in true for name in pair}
    reached = {object_of(pair[0]) for pair in proven & true}
    print(f"  objects with a proven pair: {len(reached)} of {len(objects)}")


def share(part: set[Any], whole: set[Any]) -> str:
    """Return the share of two sets."""
    return f"{len(part) / len(whole):.3f}" if whole else "  -  "


def object_of(name: str) -> str:
    """Return which object a sequence shows."""
    return name.rpartition("-")[0]


def measure_index(count: int) -> None:
    """Print what the search for neighbours costs among random vectors."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(count, 656)).astype(np.float32)
    classes = [str(number) for number in rng.integers(0, max(1, count // 425), count)]
    cpu = time.process_time()
    pairs = candidate_pairs(vectors, classes, num_in_class=10, num_anywhere=3)
    spent = time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(f"neighbours among {count}: {spent:.1f} CPU-s, {len(pairs)} candidates, peak {peak:.0f} MB")


if __name__ == "__main__":
    main(tyro.cli(Arguments))
