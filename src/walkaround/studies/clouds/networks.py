"""The networks by name, each in the paper's size and in a small one for the miniature."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from walkaround.errors import UsageError
from walkaround.studies.clouds.layers import CloudNetwork
from walkaround.studies.clouds.pointmae import SMALL_MAE, MaeShape, PointTransformer
from walkaround.studies.clouds.pointmlp import ELITE_SHAPE, PointMLP, small_pointmlp
from walkaround.studies.clouds.pointnet import PointNet
from walkaround.studies.clouds.pointnet2 import SMALL_LEVELS, PointNet2

NETWORKS: dict[str, dict[str, Callable[[int], CloudNetwork]]] = {
    "pointnet": {"paper": PointNet, "small": partial(PointNet, width=0.25)},
    "pointnet2": {"paper": PointNet2, "small": partial(PointNet2, width=0.25, levels=SMALL_LEVELS)},
    "pointmlp": {"paper": PointMLP, "small": small_pointmlp},
    "pointmlp-elite": {"paper": partial(PointMLP, shape=ELITE_SHAPE), "small": small_pointmlp},
    "pointmae": {
        "paper": partial(PointTransformer, shape=MaeShape(patches=128)),
        "small": partial(PointTransformer, shape=SMALL_MAE),
    },
}
_AUTOENCODERS = {"paper": MaeShape(), "small": SMALL_MAE}


def build_network(name: str, classes: int, *, size: str = "paper") -> CloudNetwork:
    """Return a fresh network.

    Raises
    ------
    UsageError
        There is no network, or size, of that name.
    """
    if name not in NETWORKS:
        raise UsageError(f"There is no network {name!r} for clouds; there are {', '.join(NETWORKS)}.")
    if size not in NETWORKS[name]:
        raise UsageError(f"{name} has no size {size!r}; its sizes are {', '.join(NETWORKS[name])}.")
    return NETWORKS[name][size](classes)


def mae_shape(size: str) -> MaeShape:
    """Return the proportions for pretraining; those of ``pointmae`` in the same size take its encoder."""
    return _AUTOENCODERS[size]
