"""``walkaround masks``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from walkaround.commands.console import EXIT_ACCEPTED, parse, progress, say, set_up_logging
from walkaround.masks.models import check_model


@dataclass(frozen=True, kw_only=True)
class MasksCommand:
    """Mask one object in a folder of photos, without cameras."""

    input: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="PHOTOS")]
    """A folder of photos of one object, which all of them show near their middle."""
    out: Path
    """Folder for the masks and overview.png; made when missing."""
    model: Path | None = None
    """A learned model: the path of an ONNX file, or a name that `walkaround models` lists. Without it the
    photos are segmented together by colour, edges and position."""
    overwrite: bool = False
    """Replace masks that are there already."""
    verbose: bool = False
    """Log more."""


def run(arguments: list[str]) -> int:
    """Write the masks and say where nothing was found."""
    command = parse(MasksCommand, "masks", arguments)
    set_up_logging(verbose=command.verbose)
    if command.model is not None:
        check_model(command.model)
    from walkaround.masks.photos import OVERVIEW_NAME, write_photo_masks

    with progress() as report:
        result = write_photo_masks(
            command.input,
            command.out,
            model=command.model,
            overwrite=command.overwrite,
            progress=lambda share: report("masks", share),
        )
    for name in result.empty:
        say(f"note: nothing was found in {name}")
    if result.others:
        say(f"note: {command.out} holds PNG files of no photo here, {result.others[0]} for one")
    say(f"{len(result.shares)} masks written: {command.out}; look at {command.out / OVERVIEW_NAME}")
    return EXIT_ACCEPTED
