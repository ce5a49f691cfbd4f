"""``walkaround rerender``."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from walkaround.commands.console import (
    EXIT_ACCEPTED,
    EXIT_REJECTED,
    parse,
    progress,
    say,
    set_up_logging,
    show,
)
from walkaround.commands.render import (
    SamplingArguments,
    open_sequence,
    read_views,
    ready_network,
    write_picture,
)
from walkaround.errors import UsageError, WalkaroundError
from walkaround.threads import library_threads, usable_cores

if TYPE_CHECKING:
    from walkaround.pipeline import BuildProgress
    from walkaround.radiance.network import RadianceNetwork


@dataclass(frozen=True, kw_only=True)
class RerenderCommand:
    """Score sequences by rendering some of their pictures from the others: wrong cameras show.

    Compare captures of one kind with each other: the score falls with fine texture, shine and wide gaps too.
    """

    source: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="SEQUENCE_OR_ROOT")]
    """The folder of a sequence, or of a dataset for all of its accepted sequences."""
    views: int = 6
    """Pictures of a sequence to render, evenly chosen."""
    size: int = 192
    """Long side in pixels."""
    write: bool = False
    """Add the scores to sequence.json and the catalogue; they stay until a stage runs again."""
    pictures: Path | None = None
    """Folder for truth and render side by side: <class>/<instance>/<image>.png in it."""
    sampling: Annotated[SamplingArguments, tyro.conf.arg(name="")] = field(default_factory=SamplingArguments)
    weights: Path | None = None
    """Other weights than those of the package."""
    device: str = "auto"
    """auto (a GPU when torch sees one), cpu, cuda or cuda:N."""
    threads: int = 0
    """Threads to use; 0 means all cores."""
    json: bool = False
    """Print the scores as JSON."""
    verbose: bool = False
    """Log more."""


def run(arguments: list[str]) -> int:
    """Score one sequence, or all of a dataset."""
    command = parse(RerenderCommand, "rerender", arguments)
    set_up_logging(verbose=command.verbose)
    command.sampling.check()
    if command.views < 1:
        raise UsageError(f"--views is {command.views}; give 1 or more.")
    network = ready_network(command.weights, command.device, command.threads)
    found: dict[str, Any] = {}
    folders = _folders(command.source)
    with progress() as report, library_threads(command.threads or usable_cores()):
        for folder in folders:
            key = f"{folder.parent.name}/{folder.name}"
            try:
                found[key] = _score(command, network, folder, report)
            except WalkaroundError as error:
                if len(folders) == 1:
                    raise
                found[key] = None
                say(f"failed: {key}: {error}")
                continue
            if not command.json:
                show(_line(key, found[key]))
    if command.json:
        show(json.dumps(found, indent=2))
    return EXIT_REJECTED if None in found.values() else EXIT_ACCEPTED


def _folders(source: Path) -> list[Path]:
    """Return the folders of sequences that are meant."""
    from walkaround.dataset.readers import Dataset

    source = source.resolve()
    if (source / "sparse").is_dir() or (source / "sequence.json").is_file() or not source.is_dir():
        return [source]
    return [source / scene.class_label / scene.instance_id for scene in Dataset(source)]


def _score(
    command: RerenderCommand, network: RadianceNetwork, folder: Path, report: BuildProgress
) -> dict[str, Any]:
    from walkaround.radiance.score import beside, rerender, rerender_scores

    scene = open_sequence(folder)
    views = read_views(scene, command.size, report, use_depth=command.sampling.use_depth)
    held_out = rerender(
        network, views, command.views, options=command.sampling,
        progress=lambda share: report(folder.name, share),
    )  # fmt: skip
    scores = rerender_scores(held_out)
    if command.pictures is not None:
        for view in held_out:
            place = command.pictures / folder.parent.name / folder.name / f"{Path(view.name).stem}.png"
            write_picture(place, beside(view.truth_srgb, view.image_srgb))
    if command.write:
        _write(folder, scores)
    return {**scores, "views": {view.name: view.psnr_db for view in held_out}}


def _write(folder: Path, scores: dict[str, float]) -> None:
    """Add scores to the last stage of a sequence's record, and to the catalogue."""
    from walkaround.dataset.catalog import update_dataset
    from walkaround.dataset.schema import RECORD_NAME, read_record, write_record

    if not (folder / RECORD_NAME).is_file():
        raise UsageError(f"--write: {folder} has no {RECORD_NAME}; `walkaround import` makes one.")
    record = read_record(folder)
    stages = dict(record.stages)
    if stages:
        last = list(stages)[-1]
        stages[last] = dataclasses.replace(stages[last], scores={**stages[last].scores, **scores})
    record = dataclasses.replace(record, stages=stages, scores={**record.scores, **scores})
    write_record(folder, record)
    update_dataset(folder.parent.parent, record)


def _line(key: str, found: dict[str, Any]) -> str:
    worst = min(found["views"], key=found["views"].__getitem__)
    return (
        f"{key}: {found['rerender_psnr_db']:.2f} dB (median of {len(found['views'])} views), worst"
        f" {found['rerender_worst_db']:.2f} dB ({worst}), SSIM {found['rerender_ssim']:.3f}"
    )
