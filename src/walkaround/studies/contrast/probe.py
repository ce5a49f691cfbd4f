"""What frozen features tell of the class: a linear probe, and k nearest neighbours."""

from __future__ import annotations

import torch

from walkaround.types import FloatArray, IntArray

_ROUNDS, _CHUNK = 200, 256


def linear_probe(
    train: FloatArray, label: IntArray, test: FloatArray, *, num_classes: int, decay: float, device: str
) -> FloatArray:
    """Return probabilities (M, C) by multinomial logistic regression.

    By L-BFGS on features, without augmentation (Kornblith et al. 2019, arXiv:1805.08974), each feature having
    mean 0 and variance 1 in training; the penalty is fixed, not searched.

    Parameters
    ----------
    train, test
        (N, D) and (M, D) features.
    label
        (N,) of ``train``.
    decay
        Half of it times the squared weights is added to the mean loss.
    """
    features, other = (torch.from_numpy(part).to(device, torch.float32) for part in (train, test))
    target = torch.from_numpy(label).to(device)
    mean, deviation = features.mean(dim=0), features.std(dim=0).clamp_min(1e-6)
    features, other = (features - mean) / deviation, (other - mean) / deviation
    weight = torch.zeros(features.shape[1], num_classes, device=device, requires_grad=True)
    bias = torch.zeros(num_classes, device=device, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=_ROUNDS, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = torch.nn.functional.cross_entropy(features @ weight + bias, target)
        value = value + 0.5 * decay * weight.square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    with torch.no_grad():
        probability: FloatArray = (other @ weight + bias).double().softmax(dim=1).cpu().numpy()
    return probability


def nearest_neighbours(
    train: FloatArray,
    label: IntArray,
    test: FloatArray,
    *,
    num_classes: int,
    neighbours: int,
    device: str,
    temperature: float = 0.07,
) -> IntArray:
    """Return the class (M,) that the nearest features vote for.

    Cosine similarity s; a neighbour has the weight ``exp(s / temperature)`` (Wu et al. 2018,
    arXiv:1805.01978).

    Parameters
    ----------
    train, test
        (N, D) and (M, D) features.
    label
        (N,) of ``train``.
    """
    known, other = (
        torch.nn.functional.normalize(torch.from_numpy(part).to(device, torch.float32), dim=1)
        for part in (train, test)
    )
    target = torch.from_numpy(label).to(device)
    found = []
    for part in other.split(_CHUNK):
        similarity, rows = (part @ known.T).topk(min(neighbours, len(known)), dim=1)
        votes = torch.zeros(len(part), num_classes, device=device)
        votes.scatter_add_(1, target[rows], (similarity / temperature).exp())
        found.append(votes.argmax(dim=1))
    classes: IntArray = torch.cat(found).cpu().numpy()
    return classes
