"""Networks of the transformers library, from their published configurations; and small ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from walkaround.errors import UsageError
from walkaround.types import ByteArray, FloatArray, IntArray

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's colours, the field's habit."""
RESNETS: dict[str, dict[str, Any]] = {
    "resnet50": {},
    "small_resnet": {
        "embedding_size": 16, "hidden_sizes": [16, 32, 64, 128], "depths": [1, 1, 1, 1],
        "layer_type": "basic",
    },
}  # fmt: skip
"""Name -> how it differs from transformers' default, which is ResNet-50."""
VITS: dict[str, dict[str, Any]] = {
    "deit_tiny": {"hidden_size": 192, "num_hidden_layers": 12, "num_attention_heads": 3, "patch_size": 16},
    "small_vit": {"hidden_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4, "patch_size": 8},
}


def make_network(name: str, *, num_classes: int, size_px: int) -> Any:
    """Return an untrained ``torch.nn.Module``: (N, 3, S, S) -> logits (N, num_classes).

    ``resnet50``: He et al. 2016 (arXiv:1512.03385), with the stride in the 3x3 convolution.
    ``deit_tiny``: Touvron et al. 2021 (arXiv:2012.12877) without distillation, which is a ViT of 12 layers
    of width 192. The small ones have the same parts in fewer and narrower layers.

    Raises
    ------
    UsageError
        There is no such network, or transformers is not installed.
    """
    transformers = _transformers()
    if name in RESNETS:
        config = transformers.ResNetConfig(num_labels=num_classes, **RESNETS[name])
        return _calling(transformers.ResNetForImageClassification(config), lambda out: out.logits)
    if name in VITS:
        config = transformers.ViTConfig(
            intermediate_size=4 * VITS[name]["hidden_size"],
            image_size=size_px,
            num_labels=num_classes,
            layer_norm_eps=1e-6,
            **VITS[name],
        )
        return _calling(transformers.ViTForImageClassification(config), lambda out: out.logits)
    raise UsageError(f"There is no network {name!r:.40}.")


def make_encoder(name: str) -> tuple[Any, int]:
    """Return a residual network without its last layer, (N, 3, S, S) -> features (N, D), and D.

    Raises
    ------
    UsageError
        There is no such network, or transformers is not installed.
    """
    transformers = _transformers()
    if name not in RESNETS:
        raise UsageError(f"There is no residual network {name!r:.40}.")
    config = transformers.ResNetConfig(**RESNETS[name])
    encoder = _calling(transformers.ResNetModel(config), lambda out: out.pooler_output.flatten(1))
    return encoder, int(config.hidden_sizes[-1])


def normalised(images: Any) -> Any:
    """Return images 0..1 (N, 3, S, S) as what networks take."""
    import torch

    mean, deviation = (torch.tensor(v, device=images.device)[:, None, None] for v in (MEAN, DEVIATION))
    return (images - mean) / deviation


def outputs(network: Any, images: ByteArray, rows: IntArray, device: str, *, batch: int = 64) -> FloatArray:
    """Return what a network gives (M, D) for some of the uint8 images (N, 3, S, S), unchanged ones."""
    import torch

    parts = []
    network.eval()
    with torch.inference_mode():
        for start in range(0, len(rows), batch):
            part = np.ascontiguousarray(images[rows[start : start + batch]])
            given = network(normalised(torch.from_numpy(part).to(device).float() / 255))
            parts.append(given.float().cpu().numpy())
    return np.concatenate(parts)


def _transformers() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise UsageError("This study needs transformers: pip install 'walkaround[studies]'.") from error
    return transformers


def _calling(network: Any, part_of: Any) -> Any:
    """Wrap a transformers model: images in, one part of its output out."""
    import torch

    class Calling(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, images: Any) -> Any:
            return part_of(self.network(pixel_values=images))

    return Calling()
