"""A simulated dataset on disk: many classes, exact cameras, masks, depth and clouds (docs/studies.md).

Each object is a sequence like a built one, so every reader takes it. A killed run goes on with the objects
that are missing; the same options and seed give the same bytes, but for the times in the records.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import multiprocessing
import multiprocessing.process
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from walkaround.dataset.description import DATASET_NAME, read_description
from walkaround.dataset.schema import (
    RECORD_NAME,
    SCHEMA_VERSION,
    FrameRecord,
    SequenceRecord,
    SourceRecord,
    read_record,
)
from walkaround.dataset.splits_options import SplitsOptions
from walkaround.errors import FormatError, UsageError
from walkaround.io.atomic import write_json
from walkaround.io.locks import locked
from walkaround.pipeline import STAGES
from walkaround.simulate.dataset_options import SimulateDatasetOptions
from walkaround.simulate.instance import CLASS_LABELS, SimulatedObject, instance_seed, render_object
from walkaround.stage_chain import run_versions, verdict
from walkaround.threads import library_threads, usable_cores
from walkaround.types import Progress, no_progress
from walkaround.workspace import WORK_NAME, StageResult, Workspace, open_workspace, stage_key

logger = logging.getLogger(__name__)
_VERSION = 1
"""Raised when the same options give other pictures."""
_WRITTEN = ("capture", "frames", "cameras", "depth", "masks", "cloud")
_OF_DATASET = ("classes", "instances", "imbalance", "min_instances", "train", "val", "test", "seed")
"""Options that say which objects there are, not how one looks."""
_QUALITY = 92


@dataclass(frozen=True, kw_only=True)
class SimulatedDataset:
    """What a call made and found."""

    root: Path
    num_sequences: int
    num_images: int
    num_made: int
    """Sequences that were not there before."""


def simulate_dataset(
    root: Path,
    *,
    options: SimulateDatasetOptions | None = None,
    workers: int = 0,
    progress: Progress = no_progress,
) -> SimulatedDataset:
    """Render a dataset into ``root``: sequences, ``dataset.json``, ``catalog.parquet`` and ``splits/``.

    Parameters
    ----------
    workers
        Processes; 0: one a core, 1: none but this one. A script that asks for more needs a main guard.

    Raises
    ------
    UsageError
        An option makes no sense, or ``root`` holds something else.
    OutputError
        ``root`` cannot be written, or another process simulates into it.
    """
    options = options or SimulateDatasetOptions()
    options.check()
    _splits_options(options).check()
    message = f"Another walkaround is simulating into {root}. Wait until it ends, or stop it."
    with locked(root / WORK_NAME / "simulate.lock", wait=False, message=message):
        _claim(root, options)
        made = _make_all(root, options, workers or usable_cores(), progress)
        _divide(root, options)
    count = sum(options.class_sizes())
    return SimulatedDataset(root=root, num_sequences=count, num_images=count * options.views, num_made=made)


def _claim(root: Path, options: SimulateDatasetOptions) -> None:
    """Write ``dataset.json``, or refuse a folder that holds another dataset."""
    found = read_description(root)
    wanted: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(options)))
    if found is None and next(root.glob("*/*/sequence.json"), None) is not None:
        raise UsageError(f"{root} holds sequences but no {DATASET_NAME}. Choose another folder.")
    old = (found or {}).get("options", {})
    old = old.get("simulate_dataset") if isinstance(old, dict) else None
    if found is not None and not isinstance(old, dict):
        raise UsageError(f"{root} holds a dataset that was not simulated. Choose another folder.")
    if old is not None:
        grown = {"classes", "instances"} if options.imbalance == 1 else set()
        differing = [
            f"{name} {old.get(name)!r}, not {value!r}"
            for name, value in wanted.items()
            if old.get(name) != value and not (name in grown and (old.get(name) or 0) <= value)
        ]
        if differing:
            raise UsageError(
                f"{root} holds a dataset simulated with {'; '.join(differing)}. Choose another folder."
                " Without imbalance, --classes and --instances may grow."
            )
    fresh = {"name": "simulated dataset", "licence": None, "schema_version": SCHEMA_VERSION}
    labels = list(CLASS_LABELS[: options.classes])
    merged = {**fresh, **(found or {}), "classes": labels, "options": {"simulate_dataset": wanted}}
    if merged != found:
        write_json(root / DATASET_NAME, merged)


def _make_all(root: Path, options: SimulateDatasetOptions, workers: int, progress: Progress) -> int:
    """Make what is missing and bring the catalogue up to date; return how many were made."""
    from walkaround.dataset.catalog import CatalogWriter

    objects = [
        (label, number)
        for label, size in zip(CLASS_LABELS, options.class_sizes(), strict=False)
        for number in range(size)
    ]
    num_made = 0
    with CatalogWriter(root) as catalog:
        for done, (record, made) in enumerate(_made(root, options, objects, workers), start=1):
            num_made += made
            if made:
                catalog.add(record)
            progress(done / len(objects))
    return num_made


def _made(
    root: Path, options: SimulateDatasetOptions, objects: list[tuple[str, int]], workers: int
) -> Iterator[tuple[SequenceRecord, bool]]:
    """Yield the record of each object and whether it was made now; those that are there come first."""
    missing = []
    for label, number in objects:
        plan = _plan(label, number, options)
        record = _standing(root, plan)
        if record is None:
            missing.append(plan)
        else:
            yield record, False
    if workers == 1 or len(missing) < 2:
        for plan in missing:
            yield make_sequence(root, plan), True
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker) as pool:
        futures = [pool.submit(make_sequence, root, plan) for plan in missing]
        try:
            for future in as_completed(futures):
                yield future.result(), True
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _start_worker() -> None:
    """Leave Ctrl-C to the parent, and end when it is killed: an idle worker would wait for ever."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_after, args=(parent,), daemon=True).start()


def _end_after(parent: multiprocessing.process.BaseProcess) -> None:
    parent.join()
    os._exit(1)


@dataclass(frozen=True, kw_only=True)
class ObjectPlan:
    """One object before it is rendered."""

    fresh: SequenceRecord
    settings: dict[str, Any]
    """What its look depends on besides the seed; kept as its options."""
    options: SimulateDatasetOptions


def _plan(label: str, number: int, options: SimulateDatasetOptions) -> ObjectPlan:
    seed = instance_seed(options, label, number)
    look = {name: value for name, value in dataclasses.asdict(options).items() if name not in _OF_DATASET}
    settings: dict[str, Any] = json.loads(json.dumps({"simulated": _VERSION, **look}))
    text = json.dumps([label, seed, settings], sort_keys=True)
    source = SourceRecord(
        kind="photos",
        sha256=hashlib.sha256(text.encode()).hexdigest(),
        width=options.size,
        height=options.size,
        num_frames=options.views,
    )
    name = f"{label}-{number:04d}"
    fresh = SequenceRecord(class_label=label, instance_id=name, source=source, seed=seed)
    return ObjectPlan(fresh=fresh, settings=settings, options=options)


def _standing(root: Path, plan: ObjectPlan) -> SequenceRecord | None:
    """Return the record of an object that is there, whole; else None."""
    folder = root / plan.fresh.class_label / plan.fresh.instance_id
    if not (folder / RECORD_NAME).is_file():
        return None
    try:
        record = read_record(folder)
    except FormatError as error:
        logger.warning("%s The object is rendered again.", error)
        return None
    workspace = Workspace(root, record, STAGES)
    keys = _keys(workspace, plan)
    done = all(workspace.is_done(name, key) for name, key in keys.items())
    return record if done and record.status != "incomplete" else None


def make_sequence(root: Path, plan: ObjectPlan) -> SequenceRecord:
    """Render one object into its folder and return its record.

    Raises
    ------
    OutputError
        The folder cannot be written.
    """
    fresh = plan.fresh
    with open_workspace(root, fresh, STAGES) as workspace, library_threads(1):
        rendered = render_object(fresh.class_label, fresh.seed, plan.options, no_progress)
        updates = {"options": dict.fromkeys(_WRITTEN, plan.settings), "versions": run_versions()}
        for name, key in _keys(workspace, plan).items():
            write = partial(_WRITERS[name], rendered)
            workspace.run_stage(name, key, write, source=fresh.source, seed=fresh.seed, **updates)
        workspace.update(**verdict(workspace.record.stages))
        return workspace.record


def _keys(workspace: Workspace, plan: ObjectPlan) -> dict[str, str]:
    keys, upstream = {}, plan.fresh.source.sha256
    for name in _WRITTEN:
        stage = workspace.stages[name]
        upstream = stage_key(stage, options=plan.settings, upstream=upstream, seed=plan.fresh.seed)
        keys[name] = upstream
    return keys


def _write_capture(rendered: SimulatedObject, scratch: Path) -> StageResult:
    return StageResult(updates={"metric": False})


def _write_frames(rendered: SimulatedObject, scratch: Path) -> StageResult:
    from walkaround.io.image import write_jpeg

    frames = []
    for view, image in zip(rendered.model.views, rendered.images_srgb, strict=True):
        write_jpeg(scratch / "images" / view.frame.image, image, _QUALITY)
        frames.append(
            FrameRecord(image=view.frame.image, source_index=view.frame.source_index, timestamp_s=None)
        )
    return StageResult(updates={"frames": tuple(frames)})  # their number rejects nothing: it was asked for


def _write_cameras(rendered: SimulatedObject, scratch: Path) -> StageResult:
    from walkaround.io.colmap import write_sparse_model

    views = rendered.model.views
    write_sparse_model(scratch / "sparse" / "0", rendered.model)
    places = [
        {"image": view.frame.image, **{name: round(value, 4) for name, value in vars(place).items()}}
        for view, place in zip(views, rendered.places, strict=True)
    ]
    frames = tuple(
        FrameRecord(
            image=view.frame.image, source_index=view.frame.source_index, timestamp_s=None, registered=True
        )
        for view in views
    )
    notes = {
        "attempt": "simulated",
        "canonical": "azimuth 0 shows the front, which is towards +x of the world",
        "places": places,
    }
    scores = {
        "registered_share": 1.0,
        "num_models": 1.0,
        "arc_deg": covered_deg(np.array([place.azimuth_deg for place in rendered.places])),
    }
    return StageResult(scores=scores, notes=notes, updates={"frames": frames})


def _write_depth(rendered: SimulatedObject, scratch: Path) -> StageResult:
    from walkaround.io.depth import DEPTH_SCALE, write_depth, write_grey

    for view, depth in zip(rendered.model.views, rendered.depths, strict=True):
        name, valid = Path(view.frame.image).stem + ".png", depth > 0
        write_depth(scratch / "depth" / name, depth.astype(np.float32), valid)
        write_grey(scratch / "confidence" / name, valid.astype(np.uint8) * np.uint8(255))
    notes = {"source": "simulated", "covers": "the object alone"}
    return StageResult(notes=notes, updates={"depth_scale": DEPTH_SCALE})


def _write_masks(rendered: SimulatedObject, scratch: Path) -> StageResult:
    from walkaround.io.depth import write_grey

    for view, mask in zip(rendered.model.views, rendered.masks, strict=True):
        path = scratch / "masks" / f"{Path(view.frame.image).stem}.png"
        write_grey(path, mask.astype(np.uint8) * np.uint8(255))
    share = float(np.median([mask.mean() for mask in rendered.masks]))
    return StageResult(scores={"object_share": share}, notes={"source": "simulated"})


def _write_cloud(rendered: SimulatedObject, scratch: Path) -> StageResult:
    from walkaround.io.pointcloud import write_pcd, write_ply

    write_ply(scratch / "cloud.ply", rendered.cloud)
    write_pcd(scratch / "cloud.pcd", rendered.cloud)
    scores = {"num_points": float(len(rendered.cloud.points_in_world))}
    return StageResult(scores=scores, notes={"source": "simulated: the surface that some view sees"})


_WRITERS = {
    "capture": _write_capture,
    "frames": _write_frames,
    "cameras": _write_cameras,
    "depth": _write_depth,
    "masks": _write_masks,
    "cloud": _write_cloud,
}


def covered_deg(azimuth_deg: np.ndarray) -> float:
    """Return the arc that azimuths (N,) cover: 360 less the largest gap; 360 if no gap stands out."""
    ordered = np.sort(azimuth_deg % 360)
    gaps = np.diff(np.append(ordered, ordered[0] + 360))
    largest = float(gaps.max())
    return 360.0 if largest <= 2.5 * float(np.median(gaps)) else 360.0 - largest


def _splits_options(options: SimulateDatasetOptions) -> SplitsOptions:
    return SplitsOptions(train=options.train, val=options.val, test=options.test, seed=options.seed)


def _divide(root: Path, options: SimulateDatasetOptions) -> None:
    from walkaround.dataset.splits import make_splits, write_splits

    division = _splits_options(options)
    write_splits(root, make_splits(root, options=division), options=division)
