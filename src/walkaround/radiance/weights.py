"""Weights as safetensors, with the sizes of the network and what is known of its training."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from walkaround.errors import FormatError, InputError
from walkaround.io import weights as files
from walkaround.radiance.network import RadianceNetwork
from walkaround.radiance.options import NetworkOptions

SHIPPED = Path(__file__).parent / "weights" / "radiance.safetensors"
"""The weights that come with the package; weights/CARD.md beside them says how they were made."""


def write_weights(
    path: Path, weights: Mapping[str, Tensor], options: NetworkOptions, facts: Mapping[str, str]
) -> None:
    """Write weights; the sizes of the network and ``facts`` go into the file's metadata."""
    known = json.dumps({"network": dataclasses.asdict(options), "facts": dict(sorted(facts.items()))})
    files.write_weights(path, dict(weights), {"radiance": known})


def read_weights(path: Path = SHIPPED) -> tuple[RadianceNetwork, dict[str, str]]:
    """Read a network, ready to render, and the facts kept with it.

    Raises
    ------
    InputError
        There is no such file.
    FormatError
        It is damaged, or not of this network.
    """
    if not path.is_file():
        raise InputError(f"There are no weights {path}. Leave --weights away for those of the package.")
    try:
        tensors, metadata = files.read_weights(path)
        known = json.loads(metadata["radiance"])
        network = RadianceNetwork(NetworkOptions(**known["network"]))
        network.load_state_dict(tensors)
        facts = {str(name): str(value) for name, value in known["facts"].items()}
    except (FormatError, KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise FormatError(f"{path} holds no weights of the radiance network ({error!s:.200}).") from error
    return network.eval(), facts
