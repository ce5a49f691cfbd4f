"""Weights of networks as safetensors: numbers and facts, no code to run. Needs the extra ``torch``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from walkaround.errors import FormatError, InputError
from walkaround.io.atomic import write_bytes


def write_weights(path: Path, weights: dict[str, Any], facts: dict[str, str]) -> None:
    """Write a ``state_dict`` in float32, with ``facts`` as metadata; the same weights give the same bytes."""
    import torch
    from safetensors.torch import save

    plain = {name: tensor.detach().to("cpu", torch.float32).contiguous() for name, tensor in weights.items()}
    write_bytes(path, _in_order(save(plain, metadata=facts)))


def read_weights(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Return tensors by name, and the facts kept with them.

    Raises
    ------
    InputError
        There is no such file.
    FormatError
        It is damaged.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise InputError(f"There are no weights {path}.")
    try:
        with safe_open(str(path), framework="pt") as file:
            return {name: file.get_tensor(name) for name in sorted(file.keys())}, dict(file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise FormatError(f"{path} is no readable safetensors file ({error}).") from error


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
