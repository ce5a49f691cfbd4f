"""Train a small classifier on views of a dataset, in a way that can be stopped and resumed anywhere.

Run: ``python examples/02_train.py ROOT`` with a dataset of yours, a download, or shards of either.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import tyro
from torch import nn
from torch.utils.data import DataLoader

from walkaround.dataset.torch import SceneSampler, ViewDataset, ViewOptions, collate


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Train."""

    root: Annotated[Path, tyro.conf.Positional]
    """A dataset or shards."""
    epochs: int = 2
    workers: int = 2
    state: Path = Path("training.pt")
    """Where the training goes on after a stop."""


def main(arguments: Arguments) -> None:
    """Print the loss of each epoch."""
    options = ViewOptions(num_views=2, size_px=64, jitter=0.1)
    dataset = ViewDataset(arguments.root, options=options)
    sampler = SceneSampler(len(dataset))
    loader = DataLoader(
        dataset, batch_size=4, sampler=sampler, num_workers=arguments.workers, collate_fn=collate
    )
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(3 * 64 * 64, 32), nn.ReLU(), nn.Linear(32, len(dataset.classes))
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    if arguments.state.is_file():
        saved = torch.load(arguments.state)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        sampler.load_state_dict(saved["sampler"])

    for epoch in range(sampler.epoch, arguments.epochs):
        sampler.set_epoch(epoch)
        losses = []
        for batch in loader:
            if not batch["key"]:  # all its scenes were skipped
                continue
            images = batch["image_srgb"].flatten(0, 1).float() / 255  # (B * N, 3, 64, 64)
            labels = batch["class_index"].repeat_interleave(options.num_views)
            loss = nn.functional.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            sampler.mark(batch)
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
            torch.save({**state, "sampler": sampler.state_dict()}, arguments.state)
        mean = sum(losses) / max(1, len(losses))
        print(f"epoch {epoch}: loss {mean:.3f}, {len(dataset)} scenes of {len(dataset.classes)} classes")


if __name__ == "__main__":
    main(tyro.cli(Arguments))
