"""Training that can be cut off at any step: atomic checkpoints, and the loop that uses them."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from walkaround.errors import FormatError, WalkaroundError
from walkaround.io.atomic import atomic_path
from walkaround.studies.frame.study import Job

logger = logging.getLogger(__name__)


class TrainingFailed(WalkaroundError):
    """A loss became infinite or not a number."""


def fit(job: Job, state: Mapping[str, Any], step: Callable[[int], float], *, num_steps: int) -> None:
    """Call ``step(0)`` to ``step(num_steps - 1)``, with checkpoints; go on after the last one.

    An interrupted training gives the same weights as one that was not, on the same machine with the same
    threads, when a step depends on nothing but its number, the seed and ``state``. torch's generators are
    part of a checkpoint, so dropout is covered.

    Parameters
    ----------
    state
        Name -> anything with ``state_dict`` and ``load_state_dict``: networks, optimisers, schedulers.
        Already on ``job.device``.
    step
        Trains one step and returns its loss.

    Raises
    ------
    TrainingFailed
        A loss is not finite.
    FormatError
        The checkpoint does not fit.
    """
    import torch

    first = _resume(job, state)
    if first == 0:
        torch.manual_seed(job.seed)
    for number in range(first, num_steps):
        loss = step(number)
        if not math.isfinite(loss):
            raise TrainingFailed(
                f"{job.arm}, seed {job.seed}: the loss of step {number} is {loss}. Lower the learning rate."
            )
        if (number + 1) % job.checkpoint_every == 0 or number + 1 == num_steps:
            _write(job, state, number + 1)
        job.progress((number + 1) / num_steps)


def save_result(path: Path, value: Any) -> None:
    """Write what torch can save (a ``state_dict``, tensors, plain data), atomically."""
    import torch

    with atomic_path(path) as temporary:
        torch.save(value, temporary)


def load_result(path: Path, device: str = "cpu") -> Any:
    """Read what :func:`save_result` wrote; nothing but tensors and plain data is loaded.

    Raises
    ------
    FormatError
        The file is missing or broken.
    """
    import torch

    try:
        return torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # whatever zipfile and the unpickler raise on a broken file
        raise FormatError(f"{path} cannot be read ({error!s:.200}). Remove it and run again.") from error


def _write(job: Job, state: Mapping[str, Any], done: int) -> None:
    import torch

    value = {
        "done": done,
        "state": {name: part.state_dict() for name, part in state.items()},
        "rng": torch.get_rng_state(),
        "cuda_rng": torch.cuda.get_rng_state_all() if job.device.startswith("cuda") else [],
    }
    save_result(job.checkpoint_path, value)


def _resume(job: Job, state: Mapping[str, Any]) -> int:
    """Put the last checkpoint into ``state`` and return how many steps it had done."""
    import torch

    if not job.checkpoint_path.is_file():
        return 0
    try:
        value = load_result(job.checkpoint_path, job.device)
    except FormatError:
        logger.warning("%s is broken; this training starts again.", job.checkpoint_path)
        return 0
    try:
        for name, part in state.items():
            part.load_state_dict(value["state"][name])
        done = int(value["done"])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise FormatError(
            f"{job.checkpoint_path} is of another network ({error!s:.200}). Run again with --overwrite."
        ) from error
    torch.set_rng_state(value["rng"].cpu())
    if job.device.startswith("cuda") and value["cuda_rng"]:
        torch.cuda.set_rng_state_all([part.cpu() for part in value["cuda_rng"]])
    logger.info("%s, seed %d: going on after step %d", job.arm, job.seed, done)
    return done
