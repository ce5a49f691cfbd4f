"""Weights as safetensors, with the sizes of the network and what is known of its training."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from torch import Tensor

from walkaround.errors import FormatError, InputError
from walkaround.hdr.network.model import HdrNetwork
from walkaround.hdr.network.options import NetworkOptions
from walkaround.io import weights as files

SHIPPED = Path(__file__).parent / "weights" / "hdr.safetensors"
"""The weights that come with the package; weights/CARD.md beside them says how they were made."""


def write_weights(
    path: Path, weights: dict[str, Tensor], options: NetworkOptions, facts: dict[str, str]
) -> None:
    """Write weights as safetensors; the sizes of the network and ``facts`` go into its metadata."""
    files.write_weights(path, weights, {**facts, "network": json.dumps(dataclasses.asdict(options))})


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
        tensors, metadata = files.read_weights(path)
        network = HdrNetwork(NetworkOptions(**json.loads(metadata.pop("network"))))
        network.load_state_dict(tensors)
    except (FormatError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise FormatError(f"{path} holds no weights of this network ({error}).") from error
    return network.eval(), metadata
