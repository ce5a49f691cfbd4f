"""Captures that come with their cameras, as sequences of a dataset.

The images keep their pixels (metadata goes), cameras are those given, in our own world or in theirs. Depth,
masks and cloud can be built on top, as after our own cameras: :func:`walkaround.pipeline.build_given`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from walkaround.dataset.classes import check_class_label
from walkaround.dataset.exchange.capture import GivenCapture, GivenView
from walkaround.dataset.exchange.formats import IMPORTERS, read_given
from walkaround.dataset.exchange.options import ImportOptions
from walkaround.dataset.schema import FrameRecord, SequenceRecord, SourceRecord, instance_id_problem
from walkaround.dataset.wipe import Wipe
from walkaround.errors import FormatError, UsageError
from walkaround.geometry import project, transform_points
from walkaround.io.image import natural_key
from walkaround.pipeline import BuildOptions, BuildProgress, GivenStages, build_given, no_build_progress
from walkaround.types import Frame, SparseModel, View
from walkaround.workspace import StageResult

if TYPE_CHECKING:
    from walkaround.cameras.normalise import Normalisation

MAX_POINTS = 200_000
"""Of points without tracks (a cloud beside the cameras), as many are taken."""


@dataclass(frozen=True, kw_only=True)
class _Image:
    """One image as it goes into the sequence."""

    path: Path
    name: str
    mask: Path | None
    view: GivenView | None


def import_sequence(
    source: Path,
    root: Path,
    *,
    format_name: str = "auto",
    options: ImportOptions | None = None,
    build: BuildOptions | None = None,
    only_given: bool = True,
    progress: BuildProgress = no_build_progress,
) -> SequenceRecord:
    """Read images with cameras and write them into ``root/<class_label>/<instance_id>/``.

    The same call again does nothing; with ``only_given`` off it goes on with depth, masks and cloud.

    Parameters
    ----------
    format_name
        One of ``walkaround.dataset.exchange.formats.IMPORTERS``, or ``auto``.
    build
        Class label, id, licence, seed, and the options of the stages that are built on top.

    Raises
    ------
    UsageError
        An option is wrong.
    InputError, FormatError
        The source does not exist, is of no known format, or is broken.
    OutputError
        ``root`` cannot be written.
    """
    options, build = options or ImportOptions(), build or BuildOptions()
    label = _checked_label(format_name, options, build, only_given=only_given)
    capture = read_given(source, format_name, options)
    images = _images(capture)
    digest = _digest(capture, images)
    width, height = capture.views[0].camera.width, capture.views[0].camera.height
    record = SequenceRecord(
        class_label=label,
        instance_id=build.instance_id or digest[:12],
        source=SourceRecord(kind="photos", sha256=digest, width=width, height=height, num_frames=len(images)),
        seed=build.seed,
        licence=build.licence,
        consent=build.consent,
        metric=capture.metric and options.world == "keep",
    )
    wipe = Wipe(source, tuple(image.path for image in images))
    stages = _stages(capture, images, record, options, wipe)
    return build_given(stages, root, options=build, only_given=only_given, progress=progress)


def _checked_label(format_name: str, options: ImportOptions, build: BuildOptions, *, only_given: bool) -> str:
    """Raise UsageError for what is wrong before anything is read; return the class label."""
    if format_name != "auto" and format_name not in IMPORTERS:
        raise UsageError(f"There is no format {format_name!r:.40}. Use auto, {', '.join(IMPORTERS)}.")
    if not only_given and options.world == "keep":
        raise UsageError(
            "Depth, masks and cloud are built in a world with z up and the cameras at distance 1: with "
            "--build, --world normalise is needed. The similarity to the source's world is kept in the notes."
        )
    problem = instance_id_problem(build.instance_id) if build.instance_id else ""
    if problem:
        raise UsageError(f"--instance-id {build.instance_id!r:.80} cannot name a folder: {problem}.")
    return check_class_label(build.class_label)


def _stages(
    capture: GivenCapture,
    images: tuple[_Image, ...],
    record: SequenceRecord,
    options: ImportOptions,
    wipe: Wipe,
) -> GivenStages:
    settings = {"imported": str(capture.notes["format"]), **asdict(options)}
    has_masks = any(image.mask is not None for image in images)
    long_side = float(max(record.source.width, record.source.height))
    return GivenStages(
        record=record,
        options=settings,
        wipe=wipe,
        capture=StageResult(
            scores={"long_side_px": long_side},  # their number rejects no import: the cameras are known
            warnings=capture.warnings,
            updates={"metric": record.metric},
        ),
        frames=lambda scratch: _write_frames(scratch, images),
        cameras=lambda scratch: _write_cameras(scratch, capture, images, options),
        masks=(lambda scratch: _write_masks(scratch, images)) if has_masks else None,
    )


def _images(capture: GivenCapture) -> tuple[_Image, ...]:
    """Return all images, named by their numbers: names of files may tell about people."""
    views = {view.image: view for view in capture.views}
    paths = sorted((*views, *capture.others), key=lambda path: (natural_key(str(path)), str(path)))
    return tuple(
        _Image(
            path=path,
            name=f"{number:03d}{'.jpg' if path.suffix.lower() in ('.jpg', '.jpeg') else '.png'}",
            mask=views[path].mask if path in views else None,
            view=views.get(path),
        )
        for number, path in enumerate(paths, start=1)
    )


def _digest(capture: GivenCapture, images: tuple[_Image, ...]) -> str:
    """Hash what a source holds: the images' bytes, the masks', cameras and points; not their names."""
    out = hashlib.sha256()
    for image in images:
        out.update(hashlib.sha256(_read(image.path)).digest())
        out.update(b"" if image.mask is None else hashlib.sha256(_read(image.mask)).digest())
        if image.view is not None:
            out.update(np.ascontiguousarray(image.view.cam_from_world).tobytes())
            out.update(repr(image.view.camera).encode())
    out.update(np.ascontiguousarray(capture.points_in_world).tobytes())
    return out.hexdigest()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise FormatError(f"{path} cannot be read ({error.strerror}).") from error


def _write_frames(scratch: Path, images: tuple[_Image, ...]) -> StageResult:
    from walkaround.io.strip import strip_metadata

    folder = scratch / "images"
    folder.mkdir(parents=True)
    for number, image in enumerate(images, start=1):
        data, suffix = strip_metadata(_read(image.path), f"image {number}")
        if suffix != Path(image.name).suffix:
            raise FormatError(f"{image.path} is not of the format that its name says. Rename it to {suffix}.")
        (folder / image.name).write_bytes(data)
    frames = tuple(
        FrameRecord(image=image.name, source_index=number, timestamp_s=None)
        for number, image in enumerate(images)
    )
    return StageResult(updates={"frames": frames})


def _write_cameras(
    scratch: Path, capture: GivenCapture, images: tuple[_Image, ...], options: ImportOptions
) -> StageResult:
    from walkaround.cameras.normalise import normalise
    from walkaround.cameras.scoring import measure_model
    from walkaround.io.colmap import write_sparse_model

    model = given_model(capture, images)
    normalised, world = normalise(model)
    kept = options.world == "keep"
    write_sparse_model(scratch / "sparse" / "0", model if kept else normalised)
    scores = measure_model(normalised, num_frames=len(images), num_models=1, consistency=0.0)
    del scores["camera_consistency"]  # nothing was matched
    if capture.errors_px is None:
        del scores["reprojection_error_px"]
    given = {image.name for image in images if image.view is not None}
    frames = tuple(
        FrameRecord(image=image.name, source_index=n, timestamp_s=None, registered=image.name in given)
        for n, image in enumerate(images)
    )
    return StageResult(
        scores=scores,
        notes=_world_notes(capture, world, kept=kept),
        warnings=("The cameras were imported, not estimated.",),
        updates={"frames": frames},
    )


def _world_notes(capture: GivenCapture, world: Normalisation, *, kept: bool) -> dict[str, Any]:
    """Say where the cameras came from, and how the source's world and the normalised one belong together."""
    similarity = world.normalised_from_world
    return {
        "attempt": "imported",
        "source": dict(capture.notes),
        "world": "keep" if kept else "normalise",
        "points": "tracks" if capture.views[0].seen is not None else "seen by projection",
        "similarity": {
            "meaning": "normalised = scale * rotation @ source + translation",
            "scale": similarity.scale,
            "rotation": similarity.rotation.tolist(),
            "translation": similarity.translation.tolist(),
        },
        "up_source": world.up_source,
        "support_plane": None if kept else world.support_plane,
    }


def given_model(capture: GivenCapture, images: tuple[_Image, ...]) -> SparseModel:
    """Return the given cameras and points; points without tracks are seen by every view they fall into."""
    points, colors = capture.points_in_world, capture.colors
    errors = np.full(len(points), -1.0) if capture.errors_px is None else capture.errors_px
    if capture.errors_px is None and len(points) > MAX_POINTS:
        step = -(-len(points) // MAX_POINTS)
        points, colors, errors = points[::step], colors[::step], errors[::step]
    views, observations = [], []
    for number, image in enumerate(images):
        if image.view is None:
            continue
        frame = Frame(index=number + 1, image=image.name, source_index=number, timestamp_s=None)
        view = View(frame=frame, camera=image.view.camera, cam_from_world=image.view.cam_from_world)
        seen = image.view.seen
        if seen is None:
            pixels = project(view.camera, transform_points(view.cam_from_world, points))
            inside = (pixels >= 0) & (pixels < [view.camera.width, view.camera.height])
            seen = np.flatnonzero(inside.all(axis=1))
        views.append(view)
        observations.append(seen)
    return SparseModel(
        views=tuple(views),
        points_in_world=points,
        colors=colors,
        errors_px=errors,
        observations=tuple(observations),
    )


def _write_masks(scratch: Path, images: tuple[_Image, ...]) -> StageResult:
    """Write the given masks; an image without one gets none, and soft values are cut at the middle."""
    from walkaround.io.depth import read_grey, write_grey

    shares = []
    for image in images:
        if image.mask is None:
            continue
        values = read_grey(image.mask)
        camera = image.view.camera if image.view is not None else None
        if camera is not None and values.shape != (camera.height, camera.width):
            raise FormatError(
                f"The mask {image.mask} has {values.shape[1]}x{values.shape[0]} pixels, its image "
                f"{camera.width}x{camera.height}. Leave the masks out with --no-masks."
            )
        mask = values > 127
        if image.view is not None and image.view.mask_is_inverted:
            mask = ~mask
        shares.append(float(mask.mean()))
        write_grey(scratch / "masks" / f"{Path(image.name).stem}.png", mask.astype(np.uint8) * np.uint8(255))
    notes: Mapping[str, Any] = {"source": "imported", "num_masks": len(shares)}
    return StageResult(scores={"object_share": float(np.median(shares))}, notes=notes)
