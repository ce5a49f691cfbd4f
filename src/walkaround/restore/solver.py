"""The deep image prior's solver: fit ``A(G(z))`` to what was measured, average, stop in time.

``min_w || A(G_w(z)) - y ||^2``, Ulyanov, Vedaldi, Lempitsky, CVPR 2018, arXiv:1711.10925.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from walkaround.restore.generators import build_generator
from walkaround.restore.measure import psnr_db
from walkaround.restore.operators import Operator
from walkaround.restore.options import PriorOptions
from walkaround.restore.stopping import NoiseLevel, Rollback, WindowedVariance
from walkaround.restore.tensors import to_array

logger = logging.getLogger(__name__)

Loss = Callable[[Tensor], Tensor]
"""Of a picture (1, C, H, W); one number."""
Weights = Mapping[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Step:
    """How far a solver is.

    Attributes
    ----------
    share
        0..1 of the work.
    picture
        Gives the current picture (1, C, H, W); costs something, so call it now and then.
    """

    iteration: int
    share: float
    loss: float
    picture: Callable[[], Tensor]


Watch = Callable[[Step], None]


def ignore(step: Step) -> None:
    """Watch nothing."""


@dataclass(frozen=True, kw_only=True)
class LogEntry:
    """One line of the log; ``psnr`` is None without truth."""

    iteration: int
    cpu_s: float
    loss: float
    psnr: float | None = None


@dataclass(frozen=True, kw_only=True)
class Solved:
    """What came of it."""

    picture: Tensor  # (1, C, H, W) 0..1
    iterations: int
    """That ran, over all restarts."""
    best_iteration: int
    """Whose average was taken, of the last restart."""
    rollbacks: int
    log: tuple[LogEntry, ...] = field(repr=False)
    weights: Weights = field(repr=False, default_factory=dict)
    """Of the last restart's network, at its end."""


def solve_prior(
    measured: Tensor,
    operator: Operator,
    size_hw: tuple[int, int],
    *,
    options: PriorOptions,
    task: str = "denoise",
    seed: int = 0,
    device: str = "cpu",
    start: Tensor | None = None,
    loss: Loss | None = None,
    noise: float | None = None,
    weights: Weights | None = None,
    truth: Tensor | None = None,
    watch: Watch = ignore,
) -> Solved:
    """Restore one picture with an untrained generator.

    Parameters
    ----------
    measured
        (1, C, h, w) what ``operator`` made of the picture, 0..1.
    size_hw
        Of the picture.
    start
        (1, C, H, W) a classical estimate: the generator then draws what is to be added to it.
    loss
        In place of the squared distance to ``measured``.
    noise
        Deviation of the noise in ``measured``, 0..1: the time to stop is looked for only once the loss has
        come down to it; 0 goes on to the last iteration. None looks for it from the beginning.
    weights
        To begin with, of a network for a picture of about this size; of another network they are ignored.
    truth
        (1, C, H, W), for the log alone.

    Raises
    ------
    UsageError
        There is no such generator.
    """
    total, log, rollbacks, ran = torch.zeros(()), [], 0, 0
    distance = loss or (lambda picture: F.mse_loss(operator(picture), measured.to(device)))
    for restart in range(max(1, options.restarts)):
        run = _Run(measured.shape[1], size_hw, options, task, seed + restart, device, start, noise)

        run.begin_at(weights)

        def told(step: Step, done: int = restart) -> None:
            watch(replace(step, share=(done + step.share) / max(1, options.restarts)))

        solved = run.solve(distance, list(operator.parameters()), truth, told)
        total = total + solved.picture
        log += list(solved.log)
        rollbacks += solved.rollbacks
        ran += solved.iterations
    picture = total / max(1, options.restarts)
    return Solved(
        picture=picture.clamp(0, 1),
        iterations=ran,
        best_iteration=solved.best_iteration,
        rollbacks=rollbacks,
        log=tuple(log),
        weights=solved.weights,
    )


class _Run:
    """One restart."""

    def __init__(
        self,
        channels: int,
        size_hw: tuple[int, int],
        options: PriorOptions,
        task: str,
        seed: int,
        device: str,
        start: Tensor | None,
        noise: float | None,
    ) -> None:
        generator = build_generator(options.generator, channels, size_hw, task=task, seed=seed)
        self.options = options
        self.generator = replace(
            generator,
            network=generator.network.to(device, memory_format=torch.channels_last),
            z=generator.z.to(device).contiguous(memory_format=torch.channels_last),
        )
        self.level = NoiseLevel(None if noise is None else noise**2)
        self.start = None if start is None else start.to(device)
        self.noise = torch.Generator(device=device).manual_seed(seed + 7919)
        self.iterations = options.iterations or generator.iterations
        self.average: Tensor | None = None

    def begin_at(self, weights: Weights | None) -> None:
        """Take over weights that fit."""
        network = self.generator.network
        if weights and {n: w.shape for n, w in weights.items()} == {
            n: w.shape for n, w in network.state_dict().items()
        }:
            network.load_state_dict(weights)

    def solve(
        self,
        distance: Loss,
        operator_parameters: list[torch.nn.Parameter],
        truth: Tensor | None,
        watch: Watch,
    ) -> Solved:
        options, network = self.options, self.generator.network
        rate = options.learning_rate or self.generator.learning_rate
        optimiser = torch.optim.Adam(network.parameters(), lr=rate)
        if operator_parameters:
            optimiser.add_param_group({"params": operator_parameters, "lr": 0.1 * rate})
        rule, guard = WindowedVariance(options.window, options.patience), Rollback(network)
        best: tuple[int, Tensor] | None = None
        lag, due = max(0, round(1 / (1 - options.average) - options.window / 2)), 0
        log: list[LogEntry] = []
        began, every = time.process_time(), max(1, self.iterations // 100)
        iteration = 0
        for iteration in range(1, self.iterations + 1):
            output = self.draw()
            loss = distance(output)
            value = float(loss.detach())
            if guard.check(value):
                logger.debug(
                    "iteration %d: the loss jumped to %g; the weights were taken back", iteration, value
                )
                continue
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            averaged = self.mix(output.detach())
            if rule.update(output, look=self.level.update(value)):
                due = iteration + lag  # the average is as old as the window's middle only then
            if iteration == due:
                best = (iteration, averaged.clone())
            if iteration % every == 0:
                known = None if truth is None else psnr_db(to_array(averaged), to_array(truth))
                cpu_s = time.process_time() - began
                log.append(LogEntry(iteration=iteration, cpu_s=cpu_s, loss=value, psnr=known))
                share = iteration / self.iterations
                watch(Step(iteration=iteration, share=share, loss=value, picture=lambda: self.current))
            if rule.stop:
                break
        if best is None or due > iteration or not options.patience:
            best = (iteration, self.current)
        return Solved(
            picture=best[1].cpu(), iterations=iteration, best_iteration=best[0], rollbacks=guard.count,
            log=tuple(log), weights=network.state_dict(),
        )  # fmt: skip

    def draw(self) -> Tensor:
        """Return the network's picture of the disturbed input."""
        generator = self.generator
        z = generator.z
        if generator.input_noise > 0:
            z = z + generator.input_noise * torch.randn(z.shape, generator=self.noise, device=z.device)
        drawn = generator.network(z)
        return drawn if self.start is None else self.start + drawn - 0.5

    def mix(self, output: Tensor) -> Tensor:
        """Add an output to the running average."""
        if self.average is None:
            self.average = output.clone()
        else:
            self.average.lerp_(output, 1 - self.options.average)
        return self.average

    @property
    def current(self) -> Tensor:
        """The running average so far."""
        return self.draw().detach() if self.average is None else self.average
