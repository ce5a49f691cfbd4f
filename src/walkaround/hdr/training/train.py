"""The training loop."""

from __future__ import annotations

import dataclasses
import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from walkaround.errors import UsageError
from walkaround.hdr.network.model import HdrNetwork
from walkaround.hdr.network.tensors import Windows
from walkaround.hdr.network.weights import write_weights
from walkaround.hdr.training.checkpoint import read_checkpoint, write_checkpoint
from walkaround.hdr.training.losses import Loss, compute_loss
from walkaround.hdr.training.options import Recipe, TrainOptions
from walkaround.hdr.training.samples import Sample, SampleMaker, stack
from walkaround.types import Progress, no_progress

logger = logging.getLogger(__name__)

WEIGHTS = "weights.safetensors"
HISTORY = "history.jsonl"
_WARM_UP = 50
_FALL = 0.6
_CLIP = 1.0


class Trainer:
    """One run: a network, its optimiser, the running average of its weights, its place in the samples."""

    def __init__(self, maker: SampleMaker, options: TrainOptions, out: Path) -> None:
        self.maker, self.options, self.out = maker, options, out
        self.recipe: Recipe = maker.recipe
        self.device = torch.device(_device(options.device))
        self.precision = _precision(options.precision, self.device)
        torch.manual_seed(self.recipe.seed)
        self.network = HdrNetwork().to(self.device)
        self.optimiser = torch.optim.Adam(self.network.parameters(), lr=self.recipe.learning_rate)
        self.average = {name: value.clone() for name, value in self.network.state_dict().items()}
        self.iteration = 0
        self.seconds = 0.0
        self._resume()

    def run(self, progress: Progress = no_progress) -> None:
        """Train to ``options.iterations``, with a checkpoint every now and then and at the end."""
        parts: list[dict[str, float]] = []
        while self.iteration < self.options.iterations:
            start = time.perf_counter()
            parts.append(self.step().parts)
            self.seconds += time.perf_counter() - start
            done = self.iteration == self.options.iterations
            if done or self.iteration % self.options.checkpoint_every == 0:
                self.save(parts)
                parts = []
            progress(self.iteration / self.options.iterations)

    def step(self) -> Loss:
        """Take one step; the samples follow from its number alone."""
        index = self.iteration
        period = self._period(index)
        draw = np.random.default_rng([self.recipe.seed, 75, index])
        temporal = bool(draw.uniform() < self.recipe.temporal)
        first = index * self.recipe.batch
        samples = [
            self.maker.make(first + n, period=period, temporal=temporal) for n in range(self.recipe.batch)
        ]
        for group in self.optimiser.param_groups:
            group["lr"] = self.recipe.learning_rate * schedule(index, self.options.iterations)
        self.optimiser.zero_grad(set_to_none=True)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            loss = self._loss(samples)
        loss.total.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), _CLIP)
        self.optimiser.step()
        self.iteration += 1
        self._average()
        return loss

    def save(self, parts: list[dict[str, float]]) -> None:
        """Write the checkpoint, the averaged weights and a line of history."""
        state: dict[str, Any] = {
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "average": self.average,
            "iteration": self.iteration,
            "seconds": self.seconds,
        }
        write_checkpoint(self.out, state, self.recipe)
        facts = {"recipe": json.dumps(dataclasses.asdict(self.recipe)), "iteration": str(self.iteration)}
        write_weights(self.out / WEIGHTS, self.average, self.network.options, facts)
        line = {"iteration": self.iteration, "seconds": round(self.seconds, 1), **_means(parts)}
        with (self.out / HISTORY).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        shown = (line.get(name, 0.0) for name in ("pixels", "psnr_mu", "psnr_mu_classical"))
        logger.info("step %d: L1 %.5f, PSNR-mu %.2f dB (untrained merge %.2f)", self.iteration, *shown)

    def _loss(self, samples: list[Sample]) -> Loss:
        truth = [
            self._tensor(np.stack([s.truths[n] for s in samples])) for n in range(len(samples[0].truths))
        ]
        earlier = None
        if samples[0].back is not None:
            with torch.no_grad():
                before = self.network(self._windows(samples, 0)).radiance
            back = self._tensor(np.stack([sample.back for sample in samples if sample.back is not None]))
            earlier = (before, truth[0], back)
        merged = self.network(self._windows(samples, -1))
        return compute_loss(merged, truth[-1], self.recipe, earlier)

    def _windows(self, samples: list[Sample], window: int) -> Windows:
        return Windows(*(self._tensor(array) for array in stack(samples, window)))

    def _tensor(self, array: Any) -> Tensor:
        return torch.from_numpy(array).to(self.device)

    def _period(self, index: int) -> int:
        """Two and three exposures in turn."""
        if not self.recipe.steps:
            return 2
        return 3 if not self.recipe.ratios else 2 + index % 2

    def _average(self) -> None:
        decay = min(self.recipe.average, self.iteration / (self.iteration + 10.0))
        with torch.no_grad():
            for name, value in self.network.state_dict().items():
                self.average[name].lerp_(value, 1.0 - decay)

    def _resume(self) -> None:
        state = read_checkpoint(self.out, self.recipe)
        if state is None:
            return
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.average = {name: value.to(self.device) for name, value in state["average"].items()}
        self.iteration, self.seconds = int(state["iteration"]), float(state["seconds"])


def schedule(index: int, iterations: int) -> float:
    """Return the share of the learning rate at a step: warm-up, level, a line down to a hundredth."""
    rise = min((index + 1) / _WARM_UP, 1.0)
    left = (iterations - index) / (max(iterations, 1) * (1.0 - _FALL))
    return float(rise * max(min(left, 1.0), 0.01))


def _means(parts: list[dict[str, float]]) -> dict[str, float]:
    names = sorted({name for part in parts for name in part})
    return {name: round(float(np.mean(list(_values(parts, name)))), 6) for name in names}


def _values(parts: list[dict[str, float]], name: str) -> Iterator[float]:
    return (part[name] for part in parts if name in part)


def _device(name: str) -> str:
    if name == "cuda" and not torch.cuda.is_available():
        raise UsageError("--train.device is cuda, and torch finds no such device. Use cpu or auto.")
    return ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name


def _precision(name: str, device: torch.device) -> str:
    return ("bfloat16" if device.type == "cuda" else "float32") if name == "auto" else name
