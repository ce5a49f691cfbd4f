"""The trained network as an ONNX file that runs without torch."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from walkaround.errors import UsageError
from walkaround.io.atomic import atomic_path
from walkaround.studies.saliency.u2net import U2Net

_OPSET = 17
"""What OpenCV and onnxruntime read since 2023."""


class _OneMap(nn.Module):  # type: ignore[misc]
    """The first of the seven maps, as a probability."""

    def __init__(self, network: U2Net) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images)[0].sigmoid()


def check_exporter() -> None:
    """Check that torch's exporter finds the package that it needs, better before a training than after.

    Raises
    ------
    UsageError
        The package onnx is missing.
    """
    try:
        import onnx  # noqa: F401
    except ImportError as error:
        raise UsageError("The export needs the package onnx: pip install 'walkaround[studies]'.") from error


def export_onnx(network: U2Net, path: Path, *, size_px: int) -> None:
    """Write (1, 3, S, S) normalised RGB -> (1, 1, S, S) probability, float32, batch normalisation merged.

    Raises
    ------
    UsageError
        The package onnx is missing.
    OutputError
        ``path`` cannot be written.
    """
    check_exporter()
    whole = _OneMap(network.cpu().float()).eval()
    image = torch.zeros(1, 3, size_px, size_px)
    names = {"input_names": ["image"], "output_names": ["fg_probability"]}
    with atomic_path(path) as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns of sizes that are fixed, as they shall be
        torch.onnx.export(whole, (image,), str(temporary), opset_version=_OPSET, dynamo=False, **names)
