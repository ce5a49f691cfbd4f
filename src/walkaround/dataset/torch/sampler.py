"""The order of scenes for a map-style dataset, over epochs, ranks and restarts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import numpy as np

from walkaround.dataset.torch.batch import Batch
from walkaround.dataset.torch.workers import rank_and_count
from walkaround.errors import UsageError
from walkaround.types import IntArray


class SceneSampler:
    """Each scene once an epoch, over all ranks, in an order that seed and epoch fix.

    Call ``set_epoch`` at the start of each epoch. To resume in its middle: ``mark(batch)`` after each batch
    that was trained on, keep ``state_dict()``, and ``load_state_dict`` before the loop. What workers had
    loaded ahead is not counted, so nothing is lost or doubled, with any number of workers, also another one
    than before.

    Parameters
    ----------
    num_scenes
        ``len(dataset)``.
    shuffle
        False: in the order of the dataset.
    seed
        Of the order.
    rank, world_size
        This process among those that train together; None asks ``torch.distributed``.
    uneven
        When the ranks cannot have equally many. ``keep``: some have one more (evaluation). ``drop``: all have
        as few as the fewest (training with gradients that are averaged); which are dropped changes by epoch.

    Raises
    ------
    UsageError
        An argument is out of range.
    """

    def __init__(
        self,
        num_scenes: int,
        *,
        shuffle: bool = True,
        seed: int = 0,
        rank: int | None = None,
        world_size: int | None = None,
        uneven: Literal["keep", "drop"] = "keep",
    ) -> None:
        self.num_scenes, self.shuffle, self.seed, self.uneven = num_scenes, shuffle, seed, uneven
        self.rank, self.world_size = rank_and_count(rank, world_size)
        if not 0 <= self.rank < self.world_size:
            raise UsageError(
                f"Rank {self.rank} is none of {self.world_size} ranks; give 0 to {self.world_size - 1}."
            )
        self.epoch = 0
        self._start = 0
        self._reached = 0

    def __len__(self) -> int:
        return len(self._order()) - self._start

    def __iter__(self) -> Iterator[tuple[int, int, int]]:
        """Yield (epoch, number of a scene, how many of this rank's are used after it)."""
        epoch = self.epoch
        for place, number in enumerate(self._order()[self._start :].tolist(), self._start):
            yield epoch, number, place + 1

    def set_epoch(self, epoch: int) -> None:
        """Begin an epoch; the one that a loaded state is in goes on where it was."""
        if epoch != self.epoch:
            self.epoch, self._start, self._reached = epoch, 0, 0

    def mark(self, batch: Batch) -> None:
        """Count a batch (of :func:`collate`) as done."""
        reached = batch["progress"]
        if reached.epoch == self.epoch:
            self._reached = max(self._reached, reached.used)

    def state_dict(self) -> dict[str, Any]:
        """Return where this rank is, as plain numbers and words."""
        return {**self._identity(), "epoch": self.epoch, "reached": self._reached}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where a state was taken; at the next epoch if that was at the end of one.

        Raises
        ------
        UsageError
            It is of other scenes, another seed or other ranks.
        """
        check_state(state, self._identity())
        self.epoch, self._start = int(state["epoch"]), int(state["reached"])
        if self._start >= len(self._order()):
            self.epoch, self._start = self.epoch + 1, 0
        self._reached = self._start

    def _identity(self) -> dict[str, Any]:
        names = ("num_scenes", "shuffle", "seed", "rank", "world_size", "uneven")
        return {name: getattr(self, name) for name in names}

    def _order(self) -> IntArray:
        """Return this rank's scenes in this epoch."""
        if self.shuffle:
            order = np.random.default_rng([self.seed, self.epoch]).permutation(self.num_scenes)
        else:
            order = np.arange(self.num_scenes)
        if self.uneven == "drop":
            order = order[: len(order) - len(order) % self.world_size]
        return order[self.rank :: self.world_size]


def check_state(state: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
    """Raise UsageError when a state is of something else than what goes on."""
    for name, value in identity.items():
        if state.get(name) != value:
            raise UsageError(
                f"The state cannot be continued: its {name} is {state.get(name)!r:.40}, here it is {value!r}."
            )
