"""Random numbers and devices."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from walkaround.errors import UsageError


def rng_of(seed: int, *what: str | int) -> np.random.Generator:
    """Return a generator for one purpose, independent of those for others: ``rng_of(seed, "batch", 7)``."""
    text = "\0".join([str(seed), *(str(part) for part in what)])
    return np.random.default_rng(np.frombuffer(hashlib.sha256(text.encode()).digest(), dtype=np.uint32))


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch's global generators inside the block and put them back after it: for making networks."""
    import torch

    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


def pick_device(device: str) -> str:
    """Return the torch device of a recipe's ``device``.

    Raises
    ------
    UsageError
        torch is not installed, sees no such device, or there is none of that name.
    """
    try:
        import torch
    except ImportError as error:
        raise UsageError("Studies need PyTorch: pip install 'walkaround[torch]'.") from error
    if device == "auto":
        return "cuda:0" if torch.cuda.is_available() else "cpu"
    kind, _, number = device.partition(":")
    if kind not in ("cpu", "cuda") or (number and not number.isdigit()):
        raise UsageError(f"--device is {device!r:.40}; give auto, cpu, cuda or cuda:N.")
    if kind == "cuda" and int(number or 0) >= torch.cuda.device_count():
        raise UsageError(f"--device {device}: torch sees {torch.cuda.device_count()} GPUs. Use --device cpu.")
    return device
