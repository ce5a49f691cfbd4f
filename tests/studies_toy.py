"""A study as small as one can be: which of two learning rates fits a line better."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from walkaround.studies.frame import Claim, Job, Metric, Recipe, fit, load_result, rng_of, save_result, seeded
from walkaround.types import Progress


@dataclass(frozen=True, kw_only=True)
class ToyRecipe(Recipe):
    """A line."""

    steps: int = 12
    """Steps of training."""
    checkpoint_every: int = 5


class ToyStudy:
    name = "toy"
    text = "Fast and slow learning of a line."
    recipe_type = ToyRecipe
    presets: ClassVar = {"miniature": ToyRecipe(), "full": ToyRecipe(steps=100)}
    metrics = (
        Metric(name="error", text="squared error", higher_is_better=False),
        Metric(name="share", text="share", percent=True),
    )
    claims = (
        Claim(
            text="Fast beats slow.",
            source="arXiv:0000.00000",
            paper="1 -> 0",
            metric="error",
            better="fast",
            than="slow",
        ),
    )
    stop_at = -1
    """Step at which a kill is played; -1: none."""
    trained: ClassVar[list[tuple[str, int, int]]] = []

    def arms(self, recipe: ToyRecipe) -> tuple[str, ...]:
        return ("slow", "fast")

    def prepare(self, recipe: ToyRecipe, folder: Path, progress: Progress) -> None:
        np.save(folder / "slope.npy", np.array([3.0]))

    def _net(self, job: Job) -> Any:
        import torch

        with seeded(job.seed):
            return torch.nn.Sequential(torch.nn.Linear(1, 8), torch.nn.Dropout(0.2), torch.nn.Linear(8, 1))

    def train(self, recipe: ToyRecipe, job: Job) -> None:
        import torch

        net, slope = self._net(job), float(np.load(job.data_dir / "slope.npy")[0])
        rate = {"slow": 0.001, "fast": 0.05}[job.arm]
        optimizer = torch.optim.SGD(net.parameters(), lr=rate, momentum=0.5)

        def step(number: int) -> float:
            if number == self.stop_at:
                raise KeyboardInterrupt
            self.trained.append((job.arm, job.seed, number))
            x = torch.tensor(rng_of(job.seed, "batch", number).normal(size=(16, 1)), dtype=torch.float32)
            loss = ((net(x) - slope * x) ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss.item()

        fit(job, {"net": net, "optimizer": optimizer}, step, num_steps=recipe.steps)
        save_result(job.folder / "net.pt", net.state_dict())

    def evaluate(self, recipe: ToyRecipe, job: Job) -> dict[str, float]:
        import torch

        net = self._net(job)
        net.load_state_dict(load_result(job.folder / "net.pt"))
        net.eval()
        x = torch.linspace(-1, 1, 9)[:, None]
        return {"error": float(((net(x) - 3 * x) ** 2).mean().detach()), "share": 0.5}
