"""``walkaround render``."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from walkaround.commands.console import EXIT_ACCEPTED, parse, progress, say, set_up_logging
from walkaround.errors import InputError, UsageError
from walkaround.radiance.options import SamplingOptions
from walkaround.threads import keep_freed_memory, library_threads, usable_cores

if TYPE_CHECKING:
    from walkaround.dataset.readers import Scene
    from walkaround.pipeline import BuildProgress
    from walkaround.radiance.network import RadianceNetwork
    from walkaround.radiance.views import TargetView, ViewSet

_PICTURES, _VIDEO = (".png", ".jpg", ".jpeg"), ".mp4"


@dataclass(frozen=True, kw_only=True)
class SamplingArguments(SamplingOptions):
    """The same, with a help that fits the flag ``--no-use-depth``."""

    use_depth: Annotated[
        bool,
        tyro.conf.arg(
            help="Leave the sequence's depth maps out; else they say where to look and what stops a ray.",
            help_behavior_hint="(default: they are used where there are any)",
        ),
    ] = True


@dataclass(frozen=True, kw_only=True)
class RenderCommand:
    """Render new views of a sequence: a film around the object, or one of its pictures from the others.

    Nothing is fitted; a network that was trained on other objects blends the nearest pictures.
    """

    sequence: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="SEQUENCE")]
    """The folder of a sequence, <class>/<instance>, of any layout that has cameras and images."""
    out: Path
    """FILE.mp4 for a film; FILE.png or FILE.jpg for a picture, the film's first without --view."""
    path: str = "orbit"
    """orbit: around the object, to and fro where there are no cameras all around. walk: along the cameras."""
    view: str | None = None
    """Render this picture (its number from 1, or its file name) from the others, and say how near it is."""
    beside: bool = False
    """With --view: put the true picture left of the rendered one."""
    frames: int = 60
    """Of the film."""
    frame_rate: float = 20.0
    """Of the film, in frames a second."""
    size: int = 384
    """Long side in pixels, at most that of the images; a CPU renders about 4,000 pixels a second."""
    sampling: Annotated[SamplingArguments, tyro.conf.arg(name="")] = field(default_factory=SamplingArguments)
    weights: Path | None = None
    """Other weights than those of the package (benchmarks/train_radiance.py writes some)."""
    device: str = "auto"
    """auto (a GPU when torch sees one), cpu, cuda or cuda:N."""
    threads: int = 0
    """Threads to use; 0 means all cores."""
    verbose: bool = False
    """Log more."""


def run(arguments: list[str]) -> int:
    """Render a film or a picture."""
    command = parse(RenderCommand, "render", arguments)
    set_up_logging(verbose=command.verbose)
    _check(command)
    scene = open_sequence(command.sequence)
    network = ready_network(command.weights, command.device, command.threads)
    with progress() as report, library_threads(command.threads or usable_cores()):
        wanted = None if command.view is None else view_name(scene, command.view)
        views = read_views(scene, command.size, report, use_depth=command.sampling.use_depth, needed=wanted)
        if wanted is not None:
            _one_view(command, network, views, views.names.index(wanted), report)
        else:
            _film(command, network, views, scene, report)
    say(f"written: {command.out}")
    return EXIT_ACCEPTED


def need_torch() -> None:
    """Raise :class:`UsageError` without torch and safetensors."""
    if any(importlib.util.find_spec(name) is None for name in ("torch", "safetensors")):
        raise UsageError("Rendering needs torch and safetensors: pip install 'walkaround[torch]'.")


def open_sequence(folder: Path) -> Scene:
    """Return the scene of a folder.

    Raises
    ------
    InputError
        There is no such folder, or no cameras in it.
    """
    from walkaround.dataset.readers.place import open_folder

    if not folder.is_dir():
        raise InputError(f"{folder} is no folder. Give that of a sequence: ROOT/<class>/<instance>.")
    scene = open_folder(folder)
    if not scene.has_cameras:
        raise InputError(
            f"{folder} has no cameras (sparse/0). Give the folder of one sequence, ROOT/<class>/<instance>;"
            " `walkaround build` makes one."
        )
    return scene


def ready_network(weights: Path | None, device: str, threads: int) -> RadianceNetwork:
    """Return the network on its device, torch's threads set."""
    need_torch()
    import torch

    from walkaround.radiance.weights import SHIPPED, read_weights
    from walkaround.studies.frame.seeds import pick_device

    if threads < 0:
        raise UsageError(f"--threads is {threads}; give 0 (all cores) or more.")
    keep_freed_memory()
    torch.set_num_threads(threads or usable_cores())
    network, _ = read_weights(weights or SHIPPED)
    return network.to(pick_device(device))


def read_views(
    scene: Scene, size: int, report: BuildProgress, *, use_depth: bool, needed: str | None = None
) -> ViewSet:
    """Read a scene's pictures with a progress bar; broken ones are left out, save one that is needed."""
    from walkaround.radiance.views import load_views

    if size < 32:
        raise UsageError(f"--size is {size}; give 32 pixels or more.")
    return load_views(
        scene, size, with_depth=use_depth, leave_out_broken=True, needed=needed or "",
        progress=lambda share: report("read", share),
    )  # fmt: skip


def view_name(scene: Scene, text: str) -> str:
    """Return the name of a picture with a camera, by its number from 1 or its name.

    Raises
    ------
    UsageError
        There is none.
    """
    names = [view.frame.image for view in scene.views]
    if text in names:
        return text
    if text.isdecimal() and 1 <= int(text) <= len(names):
        return names[int(text) - 1]
    raise UsageError(
        f"--view {text!r:.60}: give 1 to {len(names)}, or a name{''.join(f' such as {n}' for n in names[:1])}"
        " (only images with a camera count)."
    )


def _check(command: RenderCommand) -> None:
    suffix = command.out.suffix.lower()
    if suffix not in (*_PICTURES, _VIDEO):
        raise UsageError(f"--out {command.out} must end in .mp4, .png or .jpg.")
    if command.view is not None and suffix == _VIDEO:
        raise UsageError(f"--view renders one picture; --out {command.out} must end in .png or .jpg.")
    if command.beside and command.view is None:
        raise UsageError("--beside needs --view: a new view has no true picture.")
    if not 0 < command.frame_rate <= 240:
        raise UsageError(f"--frame-rate is {command.frame_rate:g}; give more than 0 and at most 240.")
    command.sampling.check()


def _one_view(
    command: RenderCommand, network: RadianceNetwork, views: ViewSet, number: int, report: BuildProgress
) -> None:
    from walkaround.radiance.score import beside, render_held_out

    found = render_held_out(
        network,
        views,
        number,
        options=command.sampling,
        progress=lambda share: report("render", share),
    )
    image = beside(found.truth_srgb, found.image_srgb) if command.beside else found.image_srgb
    write_picture(command.out, image)
    say(f"{found.name} from the others: {found.psnr_db:.2f} dB PSNR, SSIM {found.ssim:.3f}")


def _film(
    command: RenderCommand, network: RadianceNetwork, views: ViewSet, scene: Scene, report: BuildProgress
) -> None:
    from walkaround.io.video_write import write_mp4
    from walkaround.radiance.render import render_view

    targets = film_path(views, scene, command.path, command.frames)
    if command.out.suffix.lower() != _VIDEO:
        picture = render_view(
            network, views, targets[0], options=command.sampling, progress=lambda s: report("render", s)
        )
        write_picture(command.out, picture.image_srgb)
        return
    images = (
        render_view(
            network, views, target, options=command.sampling,
            progress=lambda share, number=number: report("render", (number + share) / len(targets)),  # type: ignore[misc]
        ).image_srgb
        for number, target in enumerate(targets)
    )  # fmt: skip
    write_mp4(command.out, images, frame_rate=command.frame_rate)


def film_path(views: ViewSet, scene: Scene, path: str, frames: int) -> tuple[TargetView, ...]:
    """Return the cameras of a film of a scene."""
    import numpy as np

    from walkaround.radiance.path import camera_path

    # worlds that are ours have z up
    up = None if scene.record is None else np.array([0.0, 0.0, 1.0])
    return camera_path(views, path, frames, up=up)


def write_picture(path: Path, image_srgb: object) -> None:
    """Write (H, W, 3) as PNG or JPEG, by the name."""
    import cv2
    import numpy as np

    from walkaround.io.atomic import write_bytes
    from walkaround.io.image import write_jpeg

    image = np.asarray(image_srgb, dtype=np.uint8)
    if path.suffix.lower() == ".png":
        write_bytes(path, cv2.imencode(".png", image[..., ::-1])[1].tobytes())
    else:
        write_jpeg(path, image)
