"""Which formats there are: name -> exporter class, name -> reading function."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from walkaround.dataset.exchange.base import Exporter
from walkaround.dataset.exchange.capture import GivenCapture
from walkaround.dataset.exchange.co3d import Co3dExporter
from walkaround.dataset.exchange.colmap import (
    ColmapExporter,
    ColmapTextExporter,
    OpenMvsExporter,
    SplattingExporter,
)
from walkaround.dataset.exchange.croissant import CroissantExporter
from walkaround.dataset.exchange.from_arkit import find_arkit, read_arkit
from walkaround.dataset.exchange.from_colmap import find_colmap, read_colmap
from walkaround.dataset.exchange.from_matrices import find_matrices, read_matrices
from walkaround.dataset.exchange.from_transforms import find_transforms, read_transforms
from walkaround.dataset.exchange.from_truth import find_truth, read_truth_cameras
from walkaround.dataset.exchange.huggingface import HuggingFaceExporter
from walkaround.dataset.exchange.instant_ngp import InstantNgpExporter
from walkaround.dataset.exchange.llff import LlffExporter
from walkaround.dataset.exchange.mvpnet import MvpnetExporter
from walkaround.dataset.exchange.mvsnet import MvsnetExporter
from walkaround.dataset.exchange.nerfstudio import NerfstudioExporter
from walkaround.dataset.exchange.options import ImportOptions
from walkaround.errors import InputError

EXPORTERS: dict[str, type[Exporter]] = {
    "nerfstudio": NerfstudioExporter,
    "instant-ngp": InstantNgpExporter,
    "colmap": ColmapExporter,
    "colmap-text": ColmapTextExporter,
    "3dgs": SplattingExporter,
    "openmvs": OpenMvsExporter,
    "mvsnet": MvsnetExporter,
    "llff": LlffExporter,
    "co3d": Co3dExporter,
    "mvpnet": MvpnetExporter,
    "huggingface": HuggingFaceExporter,
    "croissant": CroissantExporter,
}
IMPORTERS: dict[str, Callable[[Path, ImportOptions], GivenCapture]] = {
    "colmap": read_colmap,
    "transforms": read_transforms,
    "truth": read_truth_cameras,
    "arkit": read_arkit,
    "matrices": read_matrices,
}
"""``transforms``: nerfstudio and instant-ngp. ``arkit``: Polycam and other scanners of phones."""
_FINDERS: dict[str, Callable[[Path], object]] = {
    "transforms": find_transforms,
    "truth": find_truth,
    "colmap": find_colmap,
    "arkit": find_arkit,
    "matrices": find_matrices,
}


def read_given(source: Path, format_name: str, options: ImportOptions) -> GivenCapture:
    """Read a source of images with cameras.

    Parameters
    ----------
    format_name
        One of :data:`IMPORTERS`, or ``auto`` for the first that the source looks like: its JSON files, a
        COLMAP model, poses beside images, matrices.

    Raises
    ------
    InputError
        The source does not exist, or is of no known format.
    FormatError
        It is broken.
    """
    if not source.exists():
        raise InputError(f"{source} does not exist.")
    if format_name == "auto":
        format_name = next((name for name, find in _FINDERS.items() if find(source)), "")
    if not format_name:
        raise InputError(
            f"{source} is of none of the formats {', '.join(IMPORTERS)}. Name one with --from to learn "
            "what it lacks."
        )
    return IMPORTERS[format_name](source, options)
