"""From one walk-around video to one sequence of a dataset, top to bottom.

capture -> frames (-> hdr) -> cameras -> depth -> masks -> cloud -> dataset, quality

Only this module knows the order of the stages; they never import each other. Each stage but the first
reads what the stages before it left in the sequence folder, so a cut-off run continues where it stopped
(:mod:`walkaround.workspace`). Thresholds live in :mod:`walkaround.quality.rules`.
How a stage is run, passed over or ends a sequence is in :mod:`walkaround.stage_chain`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from walkaround.build_options import BatchPart as BatchPart
from walkaround.build_options import BuildOptions as BuildOptions
from walkaround.dataset.classes import check_class_label, load_class_table
from walkaround.dataset.schema import (
    FrameRecord,
    SequenceRecord,
    SourceRecord,
    instance_id_problem,
)
from walkaround.dataset.wipe import Wipe
from walkaround.errors import SequenceRejected, UsageError
from walkaround.hdr_stage import alternation, alternation_options, hdr_stage, reference_frames
from walkaround.limits import check_limits
from walkaround.open_models import try_models
from walkaround.quality.rules import RULES_BY_CODE
from walkaround.restore_stage import check_restore, frames_options, restore_scores
from walkaround.stage_chain import BuildProgress as BuildProgress
from walkaround.stage_chain import StageChain
from walkaround.stage_chain import no_build_progress as no_build_progress
from walkaround.threads import library_threads
from walkaround.types import CaptureInfo
from walkaround.workspace import WORK_NAME, Stage, StageResult, open_workspace


def _no_frames(record: SequenceRecord) -> SequenceRecord:
    return dataclasses.replace(record, frames=())


def _no_cameras(record: SequenceRecord) -> SequenceRecord:
    frames = tuple(dataclasses.replace(frame, registered=False) for frame in record.frames)
    return dataclasses.replace(record, frames=frames)


STAGES = (
    Stage(name="capture", version=1, owns=()),
    Stage(name="frames", version=1, owns=("images", "exposures"), forget=_no_frames),
    Stage(name="hdr", version=1, owns=("images",)),
    Stage(name="cameras", version=6, owns=("sparse",), uses_seed=True, room_mb=300, forget=_no_cameras),
    Stage(name="depth", version=5, owns=("depth", "confidence")),
    Stage(name="masks", version=4, owns=("masks",)),
    Stage(name="cloud", version=3, owns=("cloud.ply", "cloud.pcd")),
    Stage(name="quality", version=1, owns=("report.html",)),
)
"""In the order data meets them. Raise ``version`` when a stage's code changes its outputs."""


def build_sequence(
    source: Path | str,
    root: Path,
    *,
    options: BuildOptions | None = None,
    progress: BuildProgress = no_build_progress,
    batch: BatchPart | None = None,
) -> SequenceRecord:
    """Turn a video, or a folder or archive of photos, into ``root/<class_label>/<instance_id>/``.

    A second call continues what a first one left, or does nothing. Changed options run again exactly
    the stages they touch and those after them.

    Parameters
    ----------
    source
        A local path or a URL (``walkaround.io.fetch``); what is fetched or unpacked is removed.
    batch
        What a batch wants otherwise; None for a single build.

    Returns
    -------
    SequenceRecord
        What ``sequence.json`` holds. A capture that cannot become a sequence has the status
        ``rejected`` with reason codes; that is a result, not an error.

    Raises
    ------
    UsageError
        The class label cannot be used.
    InputError
        ``source`` cannot be read at all.
    OutputError
        ``root`` cannot be written, the disk is full.
    InUse
        Another process builds the same sequence.
    SequenceRejected
        The collector refused consent, or the capture lies under another class label and may not move.
    """
    from walkaround.io.archive import ArchiveLimits
    from walkaround.io.fetch import FetchLimits, fetch

    options = options or BuildOptions()
    if options.consent is False:
        raise SequenceRejected("no_consent", "The collector refused consent; the input was not opened.")
    label = check_class_label(options.class_label)
    _check_instance_id(options.instance_id)
    check_limits(dataclasses.asdict(options))
    check_restore(options)
    if options.classes is not None:
        label = load_class_table(options.classes).resolve(label)
    progress("capture", 0.0)
    max_mb = options.capture.max_size_mb
    limits = FetchLimits(max_size_mb=max_mb, archive=ArchiveLimits(max_unpacked_mb=max_mb))
    with fetch(str(source), root / WORK_NAME, limits=limits) as local, library_threads(options.num_threads):
        return _build_local(local, root, label, options, progress, batch)


def _build_local(
    source: Path,
    root: Path,
    label: str,
    options: BuildOptions,
    progress: BuildProgress,
    batch: BatchPart | None,
) -> SequenceRecord:
    """Build from a video or a folder of photos."""
    from walkaround.capture import inspect_capture

    capture = inspect_capture(source, options=options.capture)
    fresh = SequenceRecord(
        class_label=label,
        instance_id=options.instance_id or capture.sha256[:12],
        source=_source_record(capture),
        seed=options.seed,
        licence=options.licence,
        consent=options.consent,
    )
    movable = batch.movable if batch else None
    with open_workspace(root, fresh, STAGES, overwrite=options.overwrite, movable=movable) as workspace:
        wipe = Wipe(source, capture.photo_paths)
        run = StageChain(
            workspace,
            options,
            progress,
            upstream=capture.sha256,
            wipe=wipe,
            until=batch.until if batch else None,
        )
        _ = (
            run("capture", alternation_options(options), lambda _: _capture_stage(capture, options, source))
            and run(
                "frames",
                frames_options(options),
                lambda scratch: _frames_stage(run, scratch, source, capture),
            )
            and (options.hdr is None or run("hdr", options.hdr, lambda s: hdr_stage(run, s, source, capture)))
            and run("cameras", options.cameras, lambda scratch: _cameras_stage(run, scratch, capture))
            and run("depth", options.depth.key(), lambda scratch: _depth_stage(run, scratch))
            and run("masks", options.masks, lambda scratch: _masks_stage(run, scratch))
            and run("cloud", options.cloud, lambda scratch: _cloud_stage(run, scratch))
        )
        if not run.ended_early:
            run.finish()
            judged = {"class_label": label, **run.verdict()}
            run("quality", judged, lambda scratch: _quality_stage(run, scratch))
            run.finish()
        record = workspace.record
    if batch is None:
        from walkaround.dataset.catalog import update_dataset

        update_dataset(root, record, classes=options.classes)
    return record


@dataclass(frozen=True, kw_only=True)
class GivenStages:
    """What is known already and takes the place of the first stages: images with cameras from elsewhere."""

    record: SequenceRecord
    """A fresh record: label, id and source."""
    options: Mapping[str, Any]
    """What the outputs depend on besides the source; kept as the options of those stages."""
    capture: StageResult
    frames: Callable[[Path], StageResult]
    cameras: Callable[[Path], StageResult]
    wipe: Wipe
    """Knows the names of the source's files."""
    masks: Callable[[Path], StageResult] | None = None
    """None when the source has none: then they are made."""


def build_given(
    given: GivenStages,
    root: Path,
    *,
    options: BuildOptions,
    only_given: bool = False,
    progress: BuildProgress = no_build_progress,
) -> SequenceRecord:
    """Make a sequence of given images and cameras: depth, masks and cloud are built on top of them.

    Parameters
    ----------
    only_given
        Build nothing: what is given is all there will be.

    Raises
    ------
    OutputError
        ``root`` cannot be written, the disk is full.
    InUse
        Another process builds the same sequence.
    """
    from walkaround.dataset.catalog import update_dataset

    with (
        open_workspace(root, given.record, STAGES, overwrite=options.overwrite) as workspace,
        library_threads(options.num_threads),
    ):
        upstream = given.record.source.sha256
        run = StageChain(
            workspace, options, progress, upstream=upstream, wipe=given.wipe, given=given.options
        )
        goes_on = (
            run("capture", given.options, lambda _: given.capture)
            and run("frames", given.options, given.frames)
            and run("cameras", given.options, given.cameras)
        )
        _ = goes_on and (_run_given_masks(run, given) if only_given else _run_on_given(run, given))
        run.finish()
        if not only_given:
            judged = {"class_label": given.record.class_label, **run.verdict()}
            run("quality", judged, lambda scratch: _quality_stage(run, scratch))
            run.finish()
        record = workspace.record
    update_dataset(root, record, classes=options.classes)
    return record


def _run_given_masks(run: StageChain, given: GivenStages) -> bool:
    return given.masks is None or run("masks", given.options, given.masks)


def _run_on_given(run: StageChain, given: GivenStages) -> bool:
    """Run what follows the cameras."""
    return (
        run("depth", run.options.depth.key(), lambda scratch: _depth_stage(run, scratch))
        and (
            run("masks", given.options, given.masks)
            if given.masks is not None
            else run("masks", run.options.masks, lambda scratch: _masks_stage(run, scratch))
        )
        and run("cloud", run.options.cloud, lambda scratch: _cloud_stage(run, scratch))
    )


def _check_instance_id(instance_id: str | None) -> None:
    problem = instance_id_problem(instance_id) if instance_id else ""
    if problem:
        raise UsageError(f"--instance-id {instance_id!r:.80} cannot name a folder: {problem}.")


def sequence_folder(root: Path, record: SequenceRecord) -> Path:
    """Return where a sequence lies."""
    return root / record.class_label / record.instance_id


def _capture_stage(capture: CaptureInfo, options: BuildOptions, source: Path) -> StageResult:
    try_models(options)
    found = alternation(capture, source, options.hdr)
    return StageResult(
        scores={**capture.scores, **found.scores},
        notes=found.notes,
        warnings=capture.warnings + found.warnings,
        updates={"source": _source_record(capture)},
    )


def _frames_stage(run: StageChain, scratch: Path, source: Path, capture: CaptureInfo) -> StageResult:
    from walkaround.frames import extract_frames

    image_dir = _made(scratch / ("images" if run.options.hdr is None else "exposures"))
    more = {"options": run.options.frames, "progress": run.progress_of("frames"), **reference_frames(run)}
    result = extract_frames(source, capture, image_dir, **more)
    frames = tuple(
        FrameRecord(image=f.image, source_index=f.source_index, timestamp_s=f.timestamp_s)
        for f in result.frames
    )
    return StageResult(
        scores={**result.scores, **restore_scores(run, image_dir, frames)},
        notes={"focal_prior_px": result.focal_prior_px, **result.notes},
        warnings=result.warnings,
        updates={"frames": frames},
    )


def _cameras_stage(run: StageChain, scratch: Path, capture: CaptureInfo) -> StageResult:
    from walkaround.cameras import estimate_cameras
    from walkaround.io.colmap import write_sparse_model

    result = estimate_cameras(
        run.image_dir,
        run.frames,
        focal_prior_px=run.workspace.record.stages["frames"].notes["focal_prior_px"],
        ordered=capture.kind == "video",
        standing=RULES_BY_CODE["static_camera"].missed(run.scores("frames")),
        scratch_dir=_made(scratch / "work"),
        options=run.options.cameras,
        seed=run.options.seed,
        num_threads=run.options.num_threads,
        progress=run.progress_of("cameras"),
    )
    write_sparse_model(_made(scratch / "sparse" / "0"), result.model)
    registered = {view.frame.image for view in result.model.views}
    frames = tuple(
        dataclasses.replace(frame, registered=frame.image in registered)
        for frame in run.workspace.record.frames
    )
    return StageResult(scores=result.scores, notes=result.notes, updates={"frames": frames})


def _depth_stage(run: StageChain, scratch: Path) -> StageResult:
    from walkaround.depth import DEPTH_SCALE, write_depth_maps

    result = write_depth_maps(
        run.image_dir,
        run.model(),
        _made(scratch / "depth"),
        _made(scratch / "confidence"),
        options=run.options.depth,
        num_threads=run.options.num_threads,
        progress=run.progress_of("depth"),
    )
    return StageResult(scores=result.scores, notes=result.notes, updates={"depth_scale": DEPTH_SCALE})


def _masks_stage(run: StageChain, scratch: Path) -> StageResult:
    from walkaround.masks import write_masks

    result = write_masks(
        run.image_dir,
        run.frames,
        run.model(),
        run.folder / "depth",
        _made(scratch / "masks"),
        options=run.options.masks,
        num_threads=run.options.num_threads,
        progress=run.progress_of("masks"),
    )
    return StageResult(scores=result.scores, notes=result.notes)


def _cloud_stage(run: StageChain, scratch: Path) -> StageResult:
    from walkaround.cloud import write_cloud

    result = write_cloud(
        run.image_dir,
        run.model(),
        run.folder / "depth",
        run.folder / "masks",
        scratch / "cloud.ply",
        scratch / "cloud.pcd",
        options=run.options.cloud,
        num_threads=run.options.num_threads,
        progress=run.progress_of("cloud"),
    )
    return StageResult(scores=result.scores, notes=result.notes)


def _quality_stage(run: StageChain, scratch: Path) -> StageResult:
    from walkaround.quality.report import write_report

    write_report(run.folder, scratch / "report.html")
    return StageResult()


def _source_record(capture: CaptureInfo) -> SourceRecord:
    names = {item.name for item in dataclasses.fields(SourceRecord)}
    values: Mapping[str, Any] = {name: getattr(capture, name) for name in names}
    return SourceRecord(**values)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
