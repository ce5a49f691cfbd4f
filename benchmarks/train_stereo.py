"""Train the weights of ``--depth.backend learned``.

``python benchmarks/train_stereo.py STUDY OUT.safetensors``, where STUDY is the folder of a finished
``walkaround study stereo``: its data are trained on, beginning with what its first seed's ``pretrained-100``
left. Beside the loss by depth, which knows the object alone, the views' own consistency goes on teaching the
background; the numbers of sources and planes vary. The same command goes on after a crash.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import tyro
from accuracy import commit, machine

from walkaround.depth.network.weights import read_weights, write_weights
from walkaround.studies.frame import Job, fit, rng_of
from walkaround.studies.stereo.losses import supervised_loss, sweep_loss
from walkaround.studies.stereo.measure import measure
from walkaround.studies.stereo.scenes import StereoSet, nearest_views
from walkaround.studies.stereo.training import draw_batch, make_optimiser
from walkaround.threads import keep_freed_memory


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Train the weights that come with the package."""

    study: Annotated[Path, tyro.conf.Positional]
    """A finished study."""
    out: Annotated[Path, tyro.conf.Positional]
    """The weights to write; a folder of the same name beside it keeps checkpoints."""
    steps: int = 800
    """Training steps."""
    rate: float = 2e-3
    """Highest learning rate."""
    views_weight: float = 0.3
    """Of the views' own consistency."""
    device: str = "cpu"
    """cpu or cuda."""
    threads: int = 1
    """Of torch."""


def main(arguments: Arguments) -> None:
    """Train, write, and print how good it is on the study's test objects."""
    keep_freed_memory()
    torch.set_num_threads(arguments.threads)
    data = with_all_sources(StereoSet.load(arguments.study / "data" / "train"))
    network, _ = read_weights(arguments.study / "jobs" / "pretrained-100" / "0" / "net.safetensors")
    network = network.to(arguments.device)
    folder = arguments.out.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    job = Job(
        arm="shipped", seed=0, data_dir=arguments.study / "data", folder=folder, device=arguments.device,
        checkpoint_every=100, progress=lambda share: None,
    )  # fmt: skip
    optimizer, schedule = make_optimiser(network, arguments.rate, arguments.steps)

    def step(number: int) -> float:
        rng = rng_of(0, "shipped", number)
        count = int(rng.integers(1, data.sources.shape[2] + 1))
        stereo, depth = draw_batch(
            replace(data, sources=data.sources[..., :count]), np.arange(len(data)), 2, rng
        )
        stereo = stereo.to(arguments.device)
        estimates = network(stereo, int(rng.integers(24, 49)))
        loss = supervised_loss(estimates, depth.to(arguments.device))
        loss = loss + arguments.views_weight * sum(sweep_loss(estimate, stereo) for estimate in estimates)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        return loss.item()

    network.train()
    fit(job, {"net": network, "optimizer": optimizer, "schedule": schedule}, step, num_steps=arguments.steps)
    recipe = json.loads((arguments.study / "recipe.json").read_text(encoding="utf-8"))
    facts = {"commit": commit(), "steps": str(arguments.steps), "study": json.dumps(recipe)}
    write_weights(arguments.out, network, facts)
    print(f"machine: {machine()}; commit {commit()}")
    for name, value in measure(network, StereoSet.load(job.data_dir / "test"), arguments.device).items():
        print(f"{name:20} {100 * value:6.2f} %")


def with_all_sources(data: StereoSet) -> StereoSet:
    """Return a set in which every other view of an object is a source, the nearest first."""
    count = data.images.shape[1] - 1
    return replace(data, sources=np.stack([nearest_views(poses, count) for poses in data.cam_from_world]))


if __name__ == "__main__":
    main(tyro.cli(Arguments))
