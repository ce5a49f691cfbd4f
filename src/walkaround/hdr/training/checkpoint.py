"""Checkpoints: what a run needs to go on."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import torch

from walkaround.errors import FormatError, UsageError
from walkaround.hdr.training.options import Recipe
from walkaround.io.atomic import atomic_path

CHECKPOINT = "checkpoint.pt"


def write_checkpoint(folder: Path, state: dict[str, Any], recipe: Recipe) -> None:
    """Write the state of a run; a crash leaves the one before."""
    with atomic_path(folder / CHECKPOINT) as temporary:
        torch.save({**state, "recipe": json.dumps(dataclasses.asdict(recipe))}, temporary)


def read_checkpoint(folder: Path, recipe: Recipe) -> dict[str, Any] | None:
    """Read the state of a run; None before its first checkpoint.

    Raises
    ------
    UsageError
        The folder's run follows another recipe.
    FormatError
        The file is damaged.
    """
    path = folder / CHECKPOINT
    if not path.is_file():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        kept = json.loads(state["recipe"])
    except Exception as error:  # torch raises whatever the unpickler met
        raise FormatError(f"{path} is damaged ({error}). Remove it to begin anew.") from error
    wanted = json.loads(json.dumps(dataclasses.asdict(recipe)))
    changed = sorted(name for name in wanted if kept.get(name) != wanted[name])
    if changed:
        name = changed[0]
        raise UsageError(
            f"{folder} holds a run whose recipe has {name} = {kept.get(name)}, not {wanted[name]}. "
            "Give the same recipe, or another --out."
        )
    return state
