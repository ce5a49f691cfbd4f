"""Weights of the stereo network, with its sizes and what is known of its training."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from walkaround.depth.network.model import StereoNetwork
from walkaround.depth.network.options import NetworkOptions
from walkaround.errors import FormatError
from walkaround.io import weights as files


def write_weights(path: Path, network: StereoNetwork, facts: dict[str, str]) -> None:
    """Write a network as safetensors; its sizes and ``facts`` go into the metadata."""
    sizes = json.dumps(dataclasses.asdict(network.options))
    files.write_weights(path, network.state_dict(), {**facts, "network": sizes})


def read_weights(path: Path) -> tuple[StereoNetwork, dict[str, str]]:
    """Read a network, ready to estimate, and the facts kept with it.

    Raises
    ------
    InputError
        There is no such file.
    FormatError
        It is damaged, or not of this network.
    """
    tensors, facts = files.read_weights(path)
    try:
        network = StereoNetwork(NetworkOptions(**json.loads(facts.pop("network"))))
        network.load_state_dict(tensors)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise FormatError(f"{path} holds no weights of the stereo network ({error!s:.300}).") from error
    return network.eval(), facts
