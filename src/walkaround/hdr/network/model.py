"""The network: two stages, one result."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from walkaround.hdr.network.coarse import Coarse, CoarseNetwork
from walkaround.hdr.network.fine import FineNetwork
from walkaround.hdr.network.options import NetworkOptions
from walkaround.hdr.network.tensors import Windows


class Merged(NamedTuple):
    """What the network gives for a batch of windows."""

    radiance: Tensor  # (B, 3, H, W), not negative
    coarse: Coarse


class HdrNetwork(nn.Module):  # type: ignore[misc]
    """Coarse-to-fine merging after Chen et al., ICCV 2021, arXiv:2103.14943, small enough for a CPU.

    Untrained it returns the classical merge of stage 1: the layers that could change it start at zero.
    What differs from the paper: motion starts from OpenCV's DIS flow instead of a trained SPyNet, one set
    of weights serves any number of exposures (all frames pass the same layers, a softmax joins them), and
    features live at a quarter of the size.
    """

    def __init__(self, options: NetworkOptions | None = None) -> None:
        super().__init__()
        self.options = options or NetworkOptions()
        self.coarse = CoarseNetwork(self.options)
        self.fine = FineNetwork(self.options)

    def forward(self, windows: Windows) -> Merged:
        """Merge a batch; height and width are multiples of 8."""
        coarse = self.coarse(windows)
        middle = windows.exposure.shape[1] // 2
        return Merged(radiance=self.fine(coarse, windows.exposure[:, middle]), coarse=coarse)
