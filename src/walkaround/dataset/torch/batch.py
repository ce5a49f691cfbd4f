"""Samples to batches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from walkaround.dataset.torch.sample import Sample

Batch = dict[str, Any]


class Reached(NamedTuple):
    """How far an order is used after a sample or batch."""

    epoch: int
    worker: int
    num_workers: int
    used: int
    """Scenes of that worker's order (of the rank's, with a sampler) that are used."""


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """What a dataset gives in place of a scene that lacks something (``missing="skip"``)."""

    key: str
    reason: str
    progress: Reached


def collate(items: list[Sample | Skipped]) -> Batch:
    """Return one batch.

    Tensors are stacked; texts become lists. Skipped scenes are left out and named in ``skipped`` (key and
    reason); when all were, the batch holds no images and ``key`` is empty. ``progress`` is for
    ``SceneSampler.mark`` and ``ViewStream.mark``.
    """
    import torch
    from torch.utils.data import default_collate

    samples = [item for item in items if not isinstance(item, Skipped)]
    skipped = [(item.key, item.reason) for item in items if isinstance(item, Skipped)]
    skipped += [pair for sample in samples for pair in sample.get("skipped", ())]
    batch: Batch = {"key": [], "skipped": skipped, "progress": _furthest(items)}
    for name in samples[0] if samples else ():
        if name in ("skipped", "progress"):
            continue
        values = [sample[name] for sample in samples]
        is_number = isinstance(values[0], torch.Tensor | int | float)
        batch[name] = default_collate(values) if is_number else values
    return batch


def _furthest(items: list[Sample | Skipped]) -> Reached:
    """Return the progress after the whole batch; its items are of one epoch and worker."""
    reached = [item.progress if isinstance(item, Skipped) else item["progress"] for item in items]
    return max(reached, key=lambda progress: progress.used)
