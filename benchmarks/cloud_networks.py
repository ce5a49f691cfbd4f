"""What the networks of ``study cloud`` cost: ``python benchmarks/cloud_networks.py --repeat 5``.

CPU seconds, one thread: farthest points and balls of 512 among 2,048 points in 8 clouds, compiled loops
against the same in whole-tensor torch; and a training step of each network on 16 clouds of 256 points.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import tyro
from accuracy import commit, machine

from walkaround import __version__
from walkaround.studies.clouds import neighbours
from walkaround.studies.clouds.layers import count_parameters
from walkaround.studies.clouds.networks import NETWORKS, build_network, mae_shape
from walkaround.studies.clouds.pointmae import MaskedAutoencoder


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Measure sampling, neighbours and training steps."""

    repeat: int = 5
    """Measured rounds."""
    size: str = "small"
    """small or paper."""


def main(arguments: Arguments) -> None:
    """Print the median and the spread of each."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(f"machine: {machine()}; load {os.getloadavg()[0]:.1f}; walkaround {__version__}, commit {commit()}")
    points = torch.rand(8, 2048, 3)
    centres = points[:, :512]
    show("farthest points, compiled", lambda: neighbours.farthest_points(points, 512), arguments.repeat)
    show("farthest points, torch", lambda: neighbours._farthest_by_torch(points, 512), arguments.repeat)
    show("balls, compiled", lambda: neighbours.ball_query(points, centres, 0.2, 32), arguments.repeat)
    show("balls, torch", lambda: neighbours._ball_by_torch(points, centres, 0.2, 32), arguments.repeat)
    num_points = 256 if arguments.size == "small" else 1024
    for name in NETWORKS:
        network = build_network(name, 20, size=arguments.size)
        show(f"step of {name}", step_of(network, num_points), arguments.repeat, count_parameters(network))
    autoencoder = MaskedAutoencoder(mae_shape(arguments.size))
    show("step of pretraining", step_of(autoencoder, num_points), arguments.repeat)


def step_of(network: Any, num_points: int) -> Callable[[], None]:
    """Return a function that trains one step."""
    optimizer = torch.optim.AdamW(network.parameters())
    clouds = torch.rand(16, num_points, 3)

    def step() -> None:
        optimizer.zero_grad()
        network(clouds).square().mean().backward()
        optimizer.step()

    return step


def show(name: str, function: Callable[[], Any], repeat: int, parameters: int | None = None) -> None:
    """Print what a call costs, after one unmeasured."""
    function()
    seconds = []
    for _ in range(repeat):
        start = time.process_time()
        function()
        seconds.append(1e3 * (time.process_time() - start))
    size = "" if parameters is None else f"  {parameters / 1e6:6.3f} M parameters"
    print(
        f"{name:<28} {statistics.median(seconds):8.1f} ms  ({min(seconds):.1f} to {max(seconds):.1f}){size}"
    )


if __name__ == "__main__":
    main(tyro.cli(Arguments))
