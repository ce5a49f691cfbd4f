"""``walkaround hdr-train``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from walkaround.commands.console import EXIT_ACCEPTED, parse, progress, say, set_up_logging
from walkaround.errors import UsageError
from walkaround.hdr.training.options import Recipe, TrainOptions
from walkaround.threads import keep_freed_memory


@dataclass(frozen=True, kw_only=True)
class HdrTrainCommand:
    """Train the network of `walkaround hdr --method network` on radiance images."""

    sources: Annotated[Path, tyro.conf.Positional]
    """A folder of radiance images (.exr, .hdr), searched with its subfolders. Those whose names are held out
    for measuring (docs/hdr.md) are left out."""
    out: Path
    """Folder for weights.safetensors, the checkpoint and history.jsonl; the same command continues there."""
    footage: tuple[Path, ...] = ()
    """Videos (made linear) or folders of radiance frames; their own motion is kept."""
    recipe: Recipe = field(default_factory=Recipe)
    """What decides the result."""
    train: TrainOptions = field(default_factory=TrainOptions)
    """How long, and on what device."""
    verbose: bool = False
    """Log more."""


def run(arguments: list[str]) -> int:
    """Train, or go on training."""
    command = parse(HdrTrainCommand, "hdr-train", arguments)
    set_up_logging(verbose=command.verbose)
    command.recipe.check()
    command.train.check()
    trainer_of(command)
    return EXIT_ACCEPTED


def trainer_of(command: HdrTrainCommand) -> None:
    """Find the sources, then train."""
    from walkaround.hdr.synthesis.footage import open_footage
    from walkaround.hdr.synthesis.sources import find_sources

    try:
        import torch

        from walkaround.hdr.training.samples import SampleMaker
        from walkaround.hdr.training.train import WEIGHTS, Trainer
    except ImportError as error:
        raise UsageError(
            f"hdr-train needs {error.name}. Install it: pip install 'walkaround[torch,hdr]'."
        ) from error
    keep_freed_memory()
    if command.train.threads:
        torch.set_num_threads(command.train.threads)
    sources = find_sources(command.sources, held_out=False)
    footage = tuple(open_footage(path) for path in command.footage)
    maker = SampleMaker(recipe=command.recipe, sources=sources, footage=footage)
    command.out.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(maker, command.train, command.out)
    say(f"{len(sources)} radiance images, {len(footage)} videos; from step {trainer.iteration}")
    with progress() as report:
        trainer.run(lambda share: report("hdr-train", share))
    say(f"weights: {command.out / WEIGHTS}")
