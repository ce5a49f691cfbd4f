"""What a user can set about masks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class MasksOptions:
    """Object masks."""

    model: Path | None = None
    """A segmentation model to help at the edges: saliency, which comes with walkaround, the path of an ONNX
    file, or u2net, u2netp, isnet, birefnet, birefnet-lite (downloaded on first use; `walkaround models` lists
    them). Without it geometry and colour decide."""
    max_size: int = 960
    """Long side in pixels at which masks are solved; they are written at the images' size."""
    grid: int = 192
    """Voxels along each side of the grid in which the object is found."""
    refine_edges: bool = True
    """Whether the outline moves to the image's edges within a narrow band (graph cut on colour)."""
