"""Scenes shard by shard, for a DataLoader without a sampler."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np

from walkaround.dataset.readers import Dataset
from walkaround.dataset.shards.read import Shards
from walkaround.dataset.torch.batch import Batch, Reached, Skipped
from walkaround.dataset.torch.map_style import load_or_skip
from walkaround.dataset.torch.options import ViewOptions
from walkaround.dataset.torch.sample import Sample
from walkaround.dataset.torch.sampler import check_state
from walkaround.dataset.torch.source import Source
from walkaround.dataset.torch.workers import (
    one_thread_in_workers,
    prepare_process,
    rank_and_count,
    worker_and_count,
)
from walkaround.errors import UsageError
from walkaround.types import IntArray

try:
    import torch
    from torch.utils.data import IterableDataset
except ImportError as error:  # this module loads with the first use of ViewStream
    raise UsageError("Streams need PyTorch. Run: pip install 'walkaround[torch]'") from error

_MAX_WORKERS = 512
_EPOCH, _TURN, _WORKERS, _FIRST = 0, 1, 2, 3
"""Places in the state that workers share: the epoch, the worker whose batch comes next, how many there were,
and how far each one's order is used."""


class ViewStream(IterableDataset):  # type: ignore[misc, unused-ignore]
    """An iterable dataset: shards in an order that seed and epoch fix, split among ranks and workers.

    Each worker reads its own shards, one after the other, and draws the next scene from the coming ``buffer``
    ones: nearby reads, bounded memory. A scene comes once an epoch. With fewer shards than workers, shards
    are shared. Skipped scenes are named in the next sample's ``skipped``.

    Call ``set_epoch`` at the start of each epoch (workers that persist see it too). To resume in its middle:
    ``mark(batch)`` after each batch that was trained on, keep ``state_dict()``, and ``load_state_dict`` into
    a stream with the same number of workers: the batches that had not been marked follow, in their order.

    Parameters
    ----------
    data
        Shards, a dataset (64 scenes of which stand for a shard), or the path of either; shards also at a URL.
    shuffle
        False: in the order of the dataset.
    buffer
        Scenes among which the next is drawn; only their numbers are held.
    rank, world_size
        This process among those that train together; None asks ``torch.distributed``.
    uneven
        ``keep``: every scene comes. ``drop``: every worker of every rank ends with the shortest, so that all
        ranks take equally many steps.

    Raises
    ------
    FormatError
        There is no such dataset.
    """

    def __init__(
        self,
        data: Dataset | Shards | Path | str,
        *,
        options: ViewOptions | None = None,
        shuffle: bool = True,
        buffer: int = 1000,
        rank: int | None = None,
        world_size: int | None = None,
        uneven: Literal["keep", "drop"] = "keep",
    ) -> None:
        if buffer < 1:
            raise UsageError(f"buffer is {buffer}; give 1 or more scenes.")
        prepare_process()
        self.options = options or ViewOptions()
        self.source = Source(data, self.options)
        self.shuffle, self.buffer, self.uneven = shuffle, buffer, uneven
        self.rank, self.world_size = rank_and_count(rank, world_size)
        if not 0 <= self.rank < self.world_size:
            raise UsageError(
                f"Rank {self.rank} is none of {self.world_size} ranks; give 0 to {self.world_size - 1}."
            )
        self._shared = torch.zeros(_FIRST + _MAX_WORKERS, dtype=torch.int64).share_memory_()
        self._reached: dict[int, int] = {}
        self._turn = 0
        self._num_workers = 0

    @property
    def classes(self) -> tuple[str, ...]:
        """Class labels; ``class_index`` of a sample counts in them."""
        return self.source.classes

    def set_epoch(self, epoch: int) -> None:
        """Begin an epoch; the one that a loaded state is in goes on where it was."""
        if epoch != int(self._shared[_EPOCH]):
            self._shared.zero_()
            self._shared[_EPOCH] = epoch
            self._reached, self._turn, self._num_workers = {}, 0, 0

    def __iter__(self) -> Iterator[Sample]:
        one_thread_in_workers()
        here, count = worker_and_count()
        state = self._shared.tolist()
        if count > _MAX_WORKERS or state[_WORKERS] not in (0, count):
            raise UsageError(
                f"The loaded state is of {state[_WORKERS]} workers, here are {count}. Resume with as many."
            )
        worker = (here + state[_TURN]) % count
        order = self._order(state[_EPOCH], worker, count)
        start = state[_FIRST + worker]
        skipped: list[tuple[str, str]] = []
        for place, number in enumerate(itertools.islice(order, start, None), start):
            progress = Reached(state[_EPOCH], worker, count, place + 1)
            item = load_or_skip(self.source, number, self.options, progress)
            if isinstance(item, Skipped):
                skipped.append((item.key, item.reason))
                continue
            item["skipped"] = skipped
            yield item
            skipped = []

    def mark(self, batch: Batch) -> None:
        """Count a batch (of :func:`collate`) as done."""
        reached = batch["progress"]
        if reached.epoch == int(self._shared[_EPOCH]):
            self._num_workers = reached.num_workers
            self._reached[reached.worker] = reached.used
            self._turn = (reached.worker + 1) % reached.num_workers

    def state_dict(self) -> dict[str, Any]:
        """Return where this rank is, as plain numbers and words."""
        where = {"epoch": int(self._shared[_EPOCH]), "turn": self._turn, "num_workers": self._num_workers}
        return {**self._identity(), **where, "reached": {str(w): n for w, n in self._reached.items()}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where a state was taken.

        Raises
        ------
        UsageError
            It is of other scenes, another seed or other ranks.
        """
        check_state(state, self._identity())
        self._turn, self._num_workers = int(state["turn"]), int(state["num_workers"])
        self._reached = {int(worker): int(number) for worker, number in state["reached"].items()}
        self._shared.zero_()
        self._shared[:_FIRST] = torch.tensor([int(state["epoch"]), self._turn, self._num_workers])
        for worker, number in self._reached.items():
            self._shared[_FIRST + worker] = number

    def _identity(self) -> dict[str, Any]:
        names = ("shuffle", "buffer", "rank", "world_size", "uneven")
        own = {name: getattr(self, name) for name in names}
        return {**own, "num_scenes": len(self.source), "seed": self.options.seed}

    def _order(self, epoch: int, worker: int, num_workers: int) -> Iterator[int]:
        """Return the order of one worker's scenes."""
        parts = _divided(self._groups(epoch), self.world_size * num_workers)
        slot = self.rank * num_workers + worker
        numbers = (int(number) for group in parts[slot] for number in group)
        order: Iterator[int] = numbers
        if self.shuffle:
            order = shuffled(numbers, self.buffer, np.random.default_rng([self.options.seed, epoch, slot]))
        if self.uneven == "drop":
            order = itertools.islice(order, min(sum(map(len, part)) for part in parts))
        return order

    def _groups(self, epoch: int) -> list[IntArray]:
        groups = self.source.groups()
        if not self.shuffle:
            return groups
        rng = np.random.default_rng([self.options.seed, epoch])
        return [groups[number] for number in rng.permutation(len(groups))]


def shuffled(numbers: Iterable[int], buffer: int, rng: np.random.Generator) -> Iterator[int]:
    """Yield all numbers, each drawn from the next ``buffer`` ones."""
    held: list[int] = []
    for number in numbers:
        if len(held) < buffer:
            held.append(number)
            continue
        place = int(rng.integers(buffer))
        yield held[place]
        held[place] = number
    for place in rng.permutation(len(held)):
        yield held[int(place)]


def _divided(groups: list[IntArray], count: int) -> list[list[IntArray]]:
    """Deal groups out to ``count`` takers; when there are fewer groups than takers, groups are split
    before."""
    pieces = -(-count // max(1, len(groups)))
    if pieces > 1:
        groups = [group[start::pieces] for group in groups for start in range(pieces)]
    return [groups[taker::count] for taker in range(count)]
