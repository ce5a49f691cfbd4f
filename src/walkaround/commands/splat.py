"""``walkaround splat``."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from walkaround.commands.console import EXIT_ACCEPTED, parse, progress, say, set_up_logging
from walkaround.commands.render import need_torch, open_sequence, read_views, write_picture
from walkaround.errors import InputError, UsageError
from walkaround.io.atomic import check_writable
from walkaround.splats.options import SplatOptions
from walkaround.threads import keep_freed_memory, library_threads, usable_cores

logger = logging.getLogger(__name__)

if TYPE_CHECKING:
    from walkaround.dataset.readers import Scene
    from walkaround.pipeline import BuildProgress
    from walkaround.radiance.score import HeldOut
    from walkaround.radiance.views import ViewSet
    from walkaround.splats.gaussians import Gaussians
    from walkaround.types import BoolArray


@dataclass(frozen=True, kw_only=True)
class SplatCommand:
    """Fit Gaussian splats to a sequence, and write them as the PLY that splat viewers open.

    Runs on the CPU, in minutes. Where an object turned before a standing room, give --object-only.
    """

    sequence: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="SEQUENCE")]
    """The folder of a sequence, <class>/<instance>, of any layout that has cameras and images."""
    out: Path
    """FILE.ply."""
    film: Path | None = None
    """FILE.mp4: an orbit around the object, drawn from the splats."""
    pictures: Path | None = None
    """Folder for truth and drawing of the held-out pictures, side by side."""
    size: int = 384
    """Long side in pixels of the pictures that are fitted to, at most that of the images."""
    hold_out: int = 8
    """Fit without every so manieth picture, and compare with those; 0: fit to all."""
    options: Annotated[SplatOptions, tyro.conf.arg(name="")] = field(default_factory=SplatOptions)
    threads: int = 0
    """Threads to use; 0 means all cores."""
    verbose: bool = False
    """Log more."""


def run(arguments: list[str]) -> int:
    """Fit, compare, write."""
    command = parse(SplatCommand, "splat", arguments)
    set_up_logging(verbose=command.verbose)
    _check(command)
    scene = open_sequence(command.sequence)
    need_torch()
    for path in (command.out, command.film, command.pictures and command.pictures / "picture.png"):
        if path is not None:
            check_writable(path)
    import torch

    keep_freed_memory()
    threads = command.threads or usable_cores()
    torch.set_num_threads(threads)
    with progress() as report, library_threads(threads):
        views = read_views(scene, command.size, report, use_depth=True)
        masks = _masks(scene, views) if command.options.object_only else None
        held = _held_out(len(views), command.hold_out)
        found = _fit(command, scene, views, masks, held, threads, report)
        compared = _compare(command, found, views, masks, held, threads)
        from walkaround.splats.files import write_splats

        write_splats(command.out, found)
        if command.film is not None:
            _film(command.film, found, views, scene, threads, report)
    say(f"{len(found):,} Gaussians")
    if compared:
        psnr_db = sum(view.psnr_db for view in compared) / len(compared)
        ssim = sum(view.ssim for view in compared) / len(compared)
        around = ", black outside the masks" if masks is not None else ""
        say(f"{len(compared)} pictures held out{around}: {psnr_db:.2f} dB PSNR, SSIM {ssim:.3f} (means)")
    say(f"written: {command.out}")
    return EXIT_ACCEPTED


def _check(command: SplatCommand) -> None:
    command.options.check()
    if command.out.suffix.lower() != ".ply":
        raise UsageError(f"--out {command.out} must end in .ply.")
    if command.film is not None and command.film.suffix.lower() != ".mp4":
        raise UsageError(f"--film {command.film} must end in .mp4.")
    if command.hold_out < 0 or command.hold_out == 1:
        raise UsageError(f"--hold-out is {command.hold_out}; give 0 (none), or 2 or more.")
    if command.pictures is not None and not command.hold_out:
        raise UsageError("--pictures shows the held-out pictures; --hold-out 0 leaves none.")
    if command.threads < 0:
        raise UsageError(f"--threads is {command.threads}; give 0 (all cores) or more.")


def _held_out(count: int, every: int) -> list[int]:
    """Return the pictures that are not fitted to; none, with a warning, when too few would be left."""
    from walkaround.radiance.views import MIN_VIEWS

    held = list(range(min(every, count) // 2, count, every)) if every else []
    if count - len(held) >= MIN_VIEWS:
        return held
    logger.warning("%d pictures are too few to hold any out: all are fitted to.", count)
    return []


def _masks(scene: Scene, views: ViewSet) -> BoolArray:
    import numpy as np

    from walkaround.radiance.views import object_mask

    found = [object_mask(views, scene, number) for number in range(len(views))]
    missing = sum(mask is None for mask in found)
    if missing:
        raise InputError(f"--object-only: {missing} of {len(found)} images of {scene.key} have no mask.")
    masks = np.stack([mask for mask in found if mask is not None])
    if not masks.any():
        raise InputError(f"--object-only: the masks of {scene.key} are empty.")
    return masks


def _fit(
    command: SplatCommand,
    scene: Scene,
    views: ViewSet,
    masks: BoolArray | None,
    held: list[int],
    threads: int,
    report: BuildProgress,
) -> Gaussians:
    import numpy as np

    from walkaround.splats.fit import fit_splats
    from walkaround.splats.start import first_gaussians

    rows = np.setdiff1d(np.arange(len(views)), held)
    fitted, fitted_masks = views.part(rows), None if masks is None else masks[rows]
    model = scene.read_sparse()
    points = np.zeros((0, 3)) if model is None else model.points_in_world
    options = command.options
    first = first_gaussians(
        fitted, points, fitted_masks, most=options.most, degree=options.degree,
        rng=np.random.default_rng(options.seed),
    )  # fmt: skip
    return fit_splats(
        fitted, first, options, masks=fitted_masks, num_threads=threads,
        progress=lambda share: report("fit", share),
    )  # fmt: skip


def _compare(
    command: SplatCommand,
    found: Gaussians,
    views: ViewSet,
    masks: BoolArray | None,
    held: list[int],
    threads: int,
) -> list[HeldOut]:
    """Compare the held-out pictures; outside the masks, where there are any, both are black."""
    from walkaround.radiance.score import beside, compared
    from walkaround.splats.fit import picture_of

    rows = []
    for number in held:
        image = picture_of(found, views.target(number), num_threads=threads)
        truth = views.images_srgb[number]
        truth = truth if masks is None else truth * masks[number][..., None]
        rows.append(compared(views.names[number], image, truth))
        if command.pictures is not None:
            name = f"{Path(views.names[number]).stem}.png"
            write_picture(command.pictures / name, beside(truth, image))
    return rows


def _film(
    path: Path, found: Gaussians, views: ViewSet, scene: Scene, threads: int, report: BuildProgress
) -> None:
    from walkaround.commands.render import film_path
    from walkaround.io.video_write import write_mp4
    from walkaround.splats.fit import picture_of

    targets = film_path(views, scene, "orbit", 60)

    def images() -> object:
        for number, target in enumerate(targets):
            yield picture_of(found, target, num_threads=threads)
            report("film", (number + 1) / len(targets))

    write_mp4(path, images(), frame_rate=20.0)  # type: ignore[arg-type]
