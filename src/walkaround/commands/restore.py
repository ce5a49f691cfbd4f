"""``walkaround restore denoise|inpaint|upscale|deblur|dejpeg``."""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import tyro

from walkaround.commands.console import EXIT_ACCEPTED, EXIT_REJECTED, parse, say, set_up_logging
from walkaround.errors import UsageError
from walkaround.restore.options import PairsOptions, PriorOptions, RestoreOptions, Task
from walkaround.threads import keep_freed_memory, library_threads, usable_cores

if TYPE_CHECKING:
    from rich.console import RenderableType

    from walkaround.restore.folder import Hear
    from walkaround.restore.progress import Told

_PREVIEW_COLUMNS = 48
_PREVIEW_EVERY_S = 2.0


@dataclass(frozen=True, kw_only=True)
class _Common:
    input: Annotated[Path, tyro.conf.Positional]
    """A picture (JPEG, PNG, WebP, TIFF, BMP; 8 or 16 bits, grey or colour), or a folder of them."""
    out: Path
    """Folder for <stem>.png and <stem>.json; made when missing."""
    truth: Path | None = None
    """The clean picture, or a folder of them named alike: the records then give PSNR."""
    method: Literal["pairs", "prior"] = "pairs"
    """pairs: a small network learns from the picture itself, 10 to 20 CPU-seconds. prior: the deep image
    prior, minutes."""
    seed: int = 0
    """Seed of everything random."""
    device: str = "cpu"
    """Where torch computes: cpu, cuda, cuda:1, mps."""
    threads: int = 0
    """Threads to use; 0 means all cores. Another number may give other bytes."""
    overwrite: bool = False
    """Replace results of other options."""
    verbose: bool = False
    """Log more."""
    pairs: PairsOptions = field(default_factory=PairsOptions)
    prior: PriorOptions = field(default_factory=PriorOptions)


@dataclass(frozen=True, kw_only=True)
class DenoiseCommand(_Common):
    """Take noise from pictures."""

    sigma: float | None = None
    """Deviation of the noise in 8-bit values (0..128); measured when not given. 0: the picture as it is."""
    guide: Path | None = None
    """The same view with little noise, pixel on pixel: taken with a flash, or longer exposed."""


@dataclass(frozen=True, kw_only=True)
class InpaintCommand(_Common):
    """Fill missing pixels: text, scratches, single pixels, holes."""

    mask: Path | None = None
    """A picture that is white where pixels are missing, on black; soft edges, from 16 of 255 on, count as
    missing. Without it fully transparent pixels are; they become opaque."""


@dataclass(frozen=True, kw_only=True)
class UpscaleCommand(_Common):
    """Enlarge pictures."""

    factor: Literal[2, 3, 4, 8] = 4
    """How many times larger."""


@dataclass(frozen=True, kw_only=True)
class DeblurCommand(_Common):
    """Sharpen pictures whose blur is known."""

    kernel: str
    """gaussian:SIGMA_PX, motion:LENGTH_PX,ANGLE_DEG, a grey picture of the kernel, or unknown:SIDE_PX, which
    estimates it and often fails."""
    sigma: float | None = None
    """Deviation of the noise in 8-bit values (0..128); measured when not given."""


@dataclass(frozen=True, kw_only=True)
class DejpegCommand(_Common):
    """Take blocks and rings of compression from JPEG files."""

    quality: int = 0
    """1..100 of the encoder, when the picture was decoded and saved anew; 0 reads it from the JPEG file."""


_COMMANDS: dict[str, type[_Common]] = {
    "denoise": DenoiseCommand,
    "inpaint": InpaintCommand,
    "upscale": UpscaleCommand,
    "deblur": DeblurCommand,
    "dejpeg": DejpegCommand,
}


def run(arguments: list[str]) -> int:
    """Restore, and say what could not be."""
    if not arguments or arguments[0] not in get_args(Task):
        return _explain(arguments)
    task: Any = arguments[0]
    command = parse(_COMMANDS[task], f"restore {task}", arguments[1:])
    set_up_logging(verbose=command.verbose)
    _need_torch()
    import torch

    from walkaround.restore.folder import check_out, restore_files

    check_out(command.out, command.input)
    threads = command.threads if command.threads > 0 else usable_cores()
    keep_freed_memory()
    torch.set_num_threads(threads)
    names = {item.name for item in dataclasses.fields(RestoreOptions)}
    chosen = {item.name: getattr(command, item.name) for item in dataclasses.fields(command)}
    options = RestoreOptions(**{name: value for name, value in chosen.items() if name in names})
    with library_threads(threads), _shown() as hear:
        result = restore_files(
            command.input, command.out, task, options=options, truth=command.truth,
            overwrite=command.overwrite, hear=hear,
        )  # fmt: skip
    for name, why in result.failed.items():
        say(f"failed: {name}: {why}")
    kept = f", {len(result.kept)} were there already" if result.kept else ""
    kept += f" ({len(result.measured)} of them measured now)" if result.measured else ""
    say(f"{len(result.done)} restored{kept}: {command.out}")
    return EXIT_REJECTED if result.failed else EXIT_ACCEPTED


def _explain(arguments: list[str]) -> int:
    lines = [f"  {name:<8} {command.__doc__}" for name, command in _COMMANDS.items()]
    text = "usage: walkaround restore TASK INPUT --out OUT ...\n\ntasks:\n" + "\n".join(lines)
    text += "\n\n`walkaround restore TASK --help` lists a task's options.\n"
    if arguments and arguments[0] in ("-h", "--help"):
        sys.stdout.write(text)
        return EXIT_ACCEPTED
    what = f"there is no task {arguments[0]!r}" if arguments else "no task was given"
    raise UsageError(f"{what}. Use one of {', '.join(_COMMANDS)}: walkaround restore TASK INPUT --out OUT.")


def _need_torch() -> None:
    if importlib.util.find_spec("torch") is None:
        raise UsageError("Restoration needs torch: pip install 'walkaround[torch]'.")


@contextmanager
def _shown() -> Iterator[Hear]:
    """Show a bar and the picture as it is on a terminal; nothing elsewhere."""
    from walkaround.restore.folder import hear_nothing

    if not sys.stderr.isatty():
        yield hear_nothing
        return
    from rich.console import Console
    from rich.live import Live

    with Live(console=Console(stderr=True), auto_refresh=False, transient=True) as live:
        due = 0.0

        def hear(name: str, number: int, count: int, told: Told) -> None:
            nonlocal due
            began = time.monotonic()
            if began >= due:
                live.update(_board(f"{name} ({number + 1} of {count})", told), refresh=True)
                # a large picture takes long to draw: a tenth of the time at most
                due = time.monotonic() + max(_PREVIEW_EVERY_S, 9 * (time.monotonic() - began))

        yield hear


def _board(title: str, told: Told) -> RenderableType:
    """Return a bar above the picture, two pixels a character."""
    from rich.console import Group
    from rich.text import Text

    done = round(told.share * _PREVIEW_COLUMNS)
    bar = Text("━" * done, style="green") + Text("━" * (_PREVIEW_COLUMNS - done), style="dim")
    return Group(Text(f"{title}  {told.share:.0%}  loss {told.loss:.5f}"), bar, preview(told.picture()))


def preview(image: Any) -> Any:
    """Return (H, W, C) of 0..1 as coloured half blocks."""
    import cv2
    import numpy as np
    from rich.text import Text

    rows = max(2, round(_PREVIEW_COLUMNS * image.shape[0] / image.shape[1] / 2) * 2)
    small = cv2.resize(image, (_PREVIEW_COLUMNS, min(rows, 64)), interpolation=cv2.INTER_AREA)
    colours = (np.clip(np.atleast_3d(small), 0, 1) * 255).astype(int)
    colours = np.repeat(colours, 3, 2) if colours.shape[2] == 1 else colours
    text = Text()
    for upper, lower in zip(colours[::2], colours[1::2], strict=True):
        for above, below in zip(upper, lower, strict=True):
            over, under = (f"rgb({c[0]},{c[1]},{c[2]})" for c in (above, below))
            text.append("▀", style=f"{over} on {under}")
        text.append("\n")
    return text
