"""Weights as safetensors, with the sizes of the network and what is known of its training."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from walkaround.errors import FormatError, InputError
from walkaround.hdr.network.model import HdrNetwork
from walkaround.hdr.network.options import NetworkOptions
from walkaround.io.atomic import write_bytes

SHIPPED = Path(__file__).parent / "weights" / "hdr.safetensors"
"""The weights that come with the package; weights/CARD.md beside them says how they were made."""


def write_weights(
    path: Path, weights: dict[str, Tensor], options: NetworkOptions, facts: dict[str, str]
) -> None:
    """Write weights as safetensors; the sizes of the network and ``facts`` go into its metadata."""
    metadata = {**facts, "network": json.dumps(dataclasses.asdict(options))}
    plain = {name: tensor.detach().to("cpu", torch.float32).contiguous() for name, tensor in weights.items()}
    write_bytes(path, _in_order(save(plain, metadata=metadata)))


def _in_order(data: bytes) -> bytes:
    """Sort the metadata of safetensors, which come in any order: the same weights are the same file then.

    The format: eight bytes with the header's length, the header (JSON, filled up with blanks), the numbers.
    """
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[8 + length :]


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
