"""Checkpoints and weights: what a run needs to go on, and what is kept of it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from walkaround.errors import FormatError, InputError, UsageError
from walkaround.hdr.network.model import HdrNetwork
from walkaround.hdr.network.options import NetworkOptions
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


def write_weights(
    path: Path, weights: dict[str, Tensor], options: NetworkOptions, facts: dict[str, str]
) -> None:
    """Write weights as safetensors; the sizes of the network and ``facts`` go into its metadata."""
    metadata = {**facts, "network": json.dumps(dataclasses.asdict(options))}
    plain = {name: tensor.detach().to("cpu", torch.float32).contiguous() for name, tensor in weights.items()}
    with atomic_path(path) as temporary:
        save_file(plain, str(temporary), metadata=metadata)


def read_weights(path: Path) -> tuple[HdrNetwork, dict[str, str]]:
    """Read a network, ready to merge, and the facts kept with it.

    Raises
    ------
    InputError
        There is no such file.
    FormatError
        It is damaged, or not of this network.
    """
    if not path.is_file():
        raise InputError(f"There are no weights {path}. Train some with `walkaround hdr-train`.")
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in sorted(file.keys())}
        network = HdrNetwork(NetworkOptions(**json.loads(metadata.pop("network"))))
        network.load_state_dict(tensors)
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise FormatError(f"{path} holds no weights of this network ({error}).") from error
    return network.eval(), metadata
