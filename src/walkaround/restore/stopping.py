"""When to stop: an untrained network draws the picture first and the noise after it.

Source: Wang et al., "Early stopping for deep image prior", TMLR 2023, arXiv:2112.06074.
"""

from __future__ import annotations

from collections import deque

import torch
from torch import Tensor


class WindowedVariance:
    """The ES-WMV rule: stop where the last outputs differ least from their mean.

    Around the best picture the outputs hardly change; before it they still approach, after it they begin to
    follow the noise.

    Parameters
    ----------
    window
        Outputs in the variance.
    patience
        Iterations without a new least variance after which to stop; 0 never stops.
    max_values
        An output is thinned to about so many values: the window must fit into memory.
    """

    def __init__(self, window: int = 100, patience: int = 300, *, max_values: int = 65536) -> None:
        self.window, self.patience, self.max_values = window, patience, max_values
        self.best_variance = float("inf")
        self.since_best = 0
        self._outputs: deque[Tensor] = deque()
        self._sum: Tensor | None = None
        self._squares = 0.0

    def update(self, output: Tensor, *, look: bool = True) -> bool:
        """Take one output; return True when its window varies less than any that was looked at before."""
        values = output.detach().flatten()
        values = values[:: max(1, values.numel() // self.max_values)].double()
        self._sum = values.clone() if self._sum is None else self._sum + values
        self._squares += float(values.square().sum())
        self._outputs.append(values)
        if len(self._outputs) > self.window:
            old = self._outputs.popleft()
            self._sum -= old
            self._squares -= float(old.square().sum())
        if len(self._outputs) < self.window or not look:
            return False
        variance = (self._squares - float(self._sum.square().sum()) / self.window) / self.window
        variance /= values.numel()
        self.since_best += 1
        if variance >= self.best_variance:
            return False
        self.best_variance, self.since_best = variance, 0
        return True

    @property
    def stop(self) -> bool:
        return 0 < self.patience <= self.since_best


class NoiseLevel:
    """Says when the loss has come down to about the variance of the noise, and from then on.

    Before that, what is missing is picture, and a slow network's outputs may rest all the same. Source: the
    discrepancy principle, Morozov, 1966; here it only says from when on the least variance is looked for, so
    that a noise that is a little wrong does no harm.

    Parameters
    ----------
    variance
        Of the noise; None when unknown: it is reached at once. 0 is never reached: there is nothing that
        could be drawn too exactly.
    """

    def __init__(self, variance: float | None) -> None:
        self.variance, self.reached = variance, variance is None
        self._mean: float | None = None

    def update(self, loss: float) -> bool:
        """Take one loss, the mean squared distance; return whether its running mean was down there."""
        self._mean = loss if self._mean is None else 0.95 * self._mean + 0.05 * loss
        if self.variance:
            self.reached = self.reached or self._mean <= 1.1 * self.variance
        return self.reached


class Rollback:
    """Go back to the last good weights when the loss jumps, as it does now and then at high rates.

    Parameters
    ----------
    factor
        A loss so many times the running mean is a jump.
    every
        Iterations between two copies of the weights.
    """

    def __init__(self, network: torch.nn.Module, *, factor: float = 3.0, every: int = 25) -> None:
        self.network, self.factor, self.every = network, factor, every
        self.count = 0
        self._mean: float | None = None
        self._seen = 0
        self._good: dict[str, Tensor] = {}

    def check(self, loss: float) -> bool:
        """Take one loss, before the step that it asks for; return True when the weights were taken back."""
        finite = loss == loss and loss != float("inf")
        if self._mean is not None and self._good and (not finite or loss > self.factor * self._mean):
            self.network.load_state_dict(self._good)
            self.count += 1
            # a loss that stays high is no jump: the next one may be half as high again
            self._mean = 1.5 * self._mean if finite else None
            return True
        if not finite:
            return False
        self._mean = loss if self._mean is None else 0.9 * self._mean + 0.1 * loss
        if self._seen % self.every == 0:
            self._good = {name: value.detach().clone() for name, value in self.network.state_dict().items()}
        self._seen += 1
        return False
