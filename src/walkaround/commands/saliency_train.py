"""``walkaround saliency-train``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from walkaround.commands.console import EXIT_ACCEPTED, parse, progress, say, set_up_logging
from walkaround.errors import UsageError
from walkaround.studies.saliency.shipped.recipe import ShippedRecipe
from walkaround.threads import keep_freed_memory


@dataclass(frozen=True, kw_only=True)
class SaliencyTrainCommand:
    """Train a mask model like the one that comes with walkaround (`--masks.model saliency`)."""

    data: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DATA")]
    """A dataset with masks, as `walkaround simulate-dataset` makes it."""
    out: Path
    """Folder for saliency.onnx, the weights and the checkpoint; the same command continues there."""
    backgrounds: Path | None = None
    """A folder of pictures (.exr, .hdr, .jpg, .png) without an object of their own, to paste objects on."""
    recipe: ShippedRecipe = field(default_factory=ShippedRecipe)
    """What decides the result."""
    device: str = "auto"
    """auto (a GPU when torch sees one), cpu, cuda or cuda:N."""
    threads: int = 0
    """Threads of torch on the CPU; 0 leaves them."""
    checkpoint_every: int = 100
    """Steps between checkpoints."""
    verbose: bool = False
    """Log more."""


def run(arguments: list[str]) -> int:
    """Train, or go on training, and export."""
    command = parse(SaliencyTrainCommand, "saliency-train", arguments)
    set_up_logging(verbose=command.verbose)
    command.recipe.check()
    if command.checkpoint_every < 1 or command.threads < 0:
        raise UsageError("--checkpoint-every must be 1 or more, and --threads 0 or more.")
    path = _train(command)
    say(f"model: {path}; use it by --masks.model {path}")
    return EXIT_ACCEPTED


def _train(command: SaliencyTrainCommand) -> Path:
    from walkaround.studies.frame import Job, pick_device

    device = pick_device(command.device)
    import torch

    from walkaround.studies.saliency.shipped.export import check_exporter, export_onnx
    from walkaround.studies.saliency.shipped.train import claim_folder, make_samples, train_shipped

    check_exporter()
    keep_freed_memory()
    if command.threads:
        torch.set_num_threads(command.threads)
    claim_folder(command.out, command.recipe)
    maker = make_samples(command.recipe, command.data, command.backgrounds)
    with progress() as report:
        job = Job(
            arm="shipped",
            seed=command.recipe.seed,
            data_dir=command.data,
            folder=command.out,
            device=device,
            checkpoint_every=command.checkpoint_every,
            progress=lambda share: report("saliency-train", share),
        )
        network = train_shipped(command.recipe, maker, job)
    path = command.out / "saliency.onnx"
    export_onnx(network, path, size_px=command.recipe.size_px)
    return path
