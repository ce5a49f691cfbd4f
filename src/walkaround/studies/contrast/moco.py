"""Momentum contrast: MoCo (He et al. 2020, arXiv:1911.05722) with the head of v2 (arXiv:2003.04297).

Within one batch, statistics of batch normalisation tell which key belongs to which query, and the loss
falls without anything being learned. MoCo shuffles keys over several GPUs against that. On one device the
same is done with parts of the batch: queries and keys pass in ``groups`` parts, each normalised by itself,
and keys are distributed over them at random.
"""

from __future__ import annotations

import copy
from typing import Any

import torch

from walkaround.studies.views.networks import make_encoder

DIMENSIONS = 128


class MomentumContrast(torch.nn.Module):  # type: ignore[misc]
    """Query and key encoder and the queue of negatives."""

    queue: torch.Tensor
    place: torch.Tensor

    def __init__(self, network: str, *, queue: int, momentum: float, temperature: float, groups: int) -> None:
        super().__init__()
        self.momentum, self.temperature, self.groups = momentum, temperature, groups
        encoder, width = make_encoder(network)
        head = torch.nn.Sequential(
            torch.nn.Linear(width, width), torch.nn.ReLU(), torch.nn.Linear(width, DIMENSIONS)
        )
        self.query = torch.nn.Sequential(encoder, head)
        self.key = copy.deepcopy(self.query).requires_grad_(False)
        self.register_buffer("queue", torch.nn.functional.normalize(torch.randn(queue, DIMENSIONS), dim=1))
        self.register_buffer("place", torch.zeros((), dtype=torch.long))

    @property
    def encoder(self) -> Any:
        """What stays after training: (N, 3, S, S) -> (N, D)."""
        return self.query[0]

    def forward(self, queries: Any, keys: Any, order: Any) -> Any:
        """Return the loss (InfoNCE) of pairs of images (N, 3, S, S), and put the keys into the queue.

        Parameters
        ----------
        order
            (N,) a permutation: how keys are distributed over the groups.
        """
        query = _in_groups(self.query, queries, self.groups)
        with torch.no_grad():
            self._follow()
            key = torch.empty_like(query)
            key[order] = _in_groups(self.key, keys[order], self.groups)
        loss = info_nce(query, key, self.queue.clone(), self.temperature)
        self._push(key)
        return loss

    def _follow(self) -> None:
        """Move the key encoder towards the query encoder; statistics of normalisation are its own."""
        for own, other in zip(self.key.parameters(), self.query.parameters(), strict=True):
            own.lerp_(other, 1 - self.momentum)

    def _push(self, keys: Any) -> None:
        start = int(self.place)
        self.queue[start : start + len(keys)] = keys
        self.place.fill_((start + len(keys)) % len(self.queue))


def info_nce(query: Any, key: Any, negatives: Any, temperature: float) -> Any:
    """Return the mean of ``-log softmax`` of each query's own key among it and the negatives.

    Parameters
    ----------
    query, key
        (N, D), of unit length; row n of both is a pair.
    negatives
        (Q, D), of unit length.
    """
    own = (query * key).sum(dim=1, keepdim=True)
    logits = torch.cat([own, query @ negatives.T], dim=1) / temperature
    target = torch.zeros(len(query), dtype=torch.long, device=query.device)
    return torch.nn.functional.cross_entropy(logits, target)


def _in_groups(network: Any, images: Any, groups: int) -> Any:
    """Return unit vectors (N, D), each part of the batch normalised by itself."""
    parts = [network(part) for part in images.chunk(groups)]
    return torch.nn.functional.normalize(torch.cat(parts), dim=1)
