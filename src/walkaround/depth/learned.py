"""Depth by the learned network (``depth/network``): inverse depth and confidence of each pixel of each view.

What it gives is checked between views like the classical backend's maps.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from walkaround.depth._matching import MAX_COST
from walkaround.depth.store import ArrayStore, StoredMaps
from walkaround.depth.views import StereoView
from walkaround.depth.warps import disparity_step
from walkaround.errors import UsageError
from walkaround.types import Float32Array, IntArray, Progress

SHIPPED = Path(__file__).parent / "network" / "weights" / "stereo.safetensors"
"""The weights that come with the package; weights/CARD.md beside them says how they were made."""
_PLANE_PX = 1.6
"""How far a plane moves the match on the images, about as in training."""
_LEAST_CONFIDENCE = 0.1
"""Below it there is no depth: a guess must not stand before what other views saw."""
_PLANES = 16, 128
"""Least and most of the first sweep. Memory grows with them."""


def open_network(weights: Path | None) -> Any:
    """Return the network on the GPU when torch sees one, else on the CPU.

    Raises
    ------
    UsageError
        torch or safetensors is missing.
    InputError, FormatError
        The weights cannot be read.
    """
    try:
        import torch

        from walkaround.depth.network.weights import read_weights

        network, _ = read_weights(weights or SHIPPED)
    except ImportError as error:
        raise UsageError(
            f"--depth.backend learned needs {error.name}. Install it: pip install 'walkaround[torch]'."
        ) from error
    return network.to("cuda" if torch.cuda.is_available() else "cpu")


def infer_maps(
    network: Any, views: list[StereoView], store: ArrayStore, progress: Progress, num_threads: int
) -> tuple[StoredMaps, StoredMaps]:
    """Return inverse depth and cost (1 - confidence) of all views at the working size.

    Parameters
    ----------
    network
        What :func:`open_network` returns.
    num_threads
        Of torch on the CPU.
    """
    import torch

    maps, costs = StoredMaps(store, "learned"), StoredMaps(store, "learned cost")
    before = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    try:
        for index in range(len(views)):
            inverse, confidence = _infer(network, views, index)
            maps.put(index, np.where(confidence < _LEAST_CONFIDENCE, np.float32(0), inverse))
            costs.put(index, np.minimum(1.0 - confidence, MAX_COST).astype(np.float32))
            progress((index + 1) / len(views))
    finally:
        torch.set_num_threads(before)
    return maps, costs


def _infer(network: Any, views: list[StereoView], index: int) -> tuple[Float32Array, Float32Array]:
    import torch

    from walkaround.depth.network.model import enlarge

    chosen = np.array([index, *views[index].sources])
    stereo = _stereo(views, chosen).to(next(network.parameters()).device)
    with torch.inference_mode():
        _, fine = network(stereo, _num_planes(views, index))
        size_hw = stereo.images.shape[-2], stereo.images.shape[-1]
        maps = [enlarge(values, size_hw)[0].cpu().numpy() for values in (fine.inverse, fine.confidence)]
    height, width = views[index].levels[0].size_hw
    inverse, confidence = (np.ascontiguousarray(values[:height, :width]) for values in maps)
    return inverse, confidence


def _stereo(views: list[StereoView], chosen: IntArray) -> Any:
    """Return a reference and its sources as the network wants them, filled up at the right and below.

    That moves no corner and no pixel, so the cameras stay as they are.
    """
    import torch
    import torch.nn.functional as F

    from walkaround.depth.network.model import MULTIPLE
    from walkaround.depth.network.sweep import Stereo, normalised

    levels = [views[number].levels[0] for number in chosen]
    height, width = (
        -(-max(level.size_hw[axis] for level in levels) // MULTIPLE) * MULTIPLE for axis in (0, 1)
    )
    images = []
    for level in levels:
        image = normalised(torch.from_numpy(np.ascontiguousarray(level.image))[None])
        border = 0, width - image.shape[2], 0, height - image.shape[1]
        images.append(F.pad(image[None], border, mode="replicate")[0])
    poses = np.stack([views[number].view.cam_from_world for number in chosen])
    reference = views[int(chosen[0])]
    return Stereo(
        images=torch.stack(images)[None],
        K=torch.tensor(np.stack([level.K for level in levels]), dtype=torch.float32)[None],
        cam_from_world=torch.tensor(poses, dtype=torch.float32)[None],
        inverse_range=torch.tensor([[reference.w_low, reference.w_high]], dtype=torch.float32),
    )


def _num_planes(views: list[StereoView], index: int) -> int:
    view = views[index]
    step = _PLANE_PX * disparity_step(views, index, 0)
    return int(np.clip(np.ceil((view.w_high - view.w_low) / step) + 1, *_PLANES))
