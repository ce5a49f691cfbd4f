"""Networks of the transformers library, from their published configurations; and small ones."""

from __future__ import annotations

from typing import Any

from walkaround.errors import UsageError


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
    try:
        import transformers
    except ImportError as error:
        raise UsageError("This study needs transformers: pip install 'walkaround[studies]'.") from error
    if name in ("resnet50", "small_resnet"):
        sizes: dict[str, Any] = {}
        if name == "small_resnet":
            sizes = {
                "embedding_size": 16, "hidden_sizes": [16, 32, 64, 128], "depths": [1, 1, 1, 1],
                "layer_type": "basic",
            }  # fmt: skip
        config = transformers.ResNetConfig(num_labels=num_classes, **sizes)
        return _logits_of(transformers.ResNetForImageClassification(config))
    if name in ("deit_tiny", "small_vit"):
        sizes = {"hidden_size": 192, "num_hidden_layers": 12, "num_attention_heads": 3, "patch_size": 16}
        if name == "small_vit":
            sizes = {"hidden_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4, "patch_size": 8}
        config = transformers.ViTConfig(
            intermediate_size=4 * sizes["hidden_size"],
            image_size=size_px,
            num_labels=num_classes,
            layer_norm_eps=1e-6,
            **sizes,
        )
        return _logits_of(transformers.ViTForImageClassification(config))
    raise UsageError(f"There is no network {name!r:.40}.")


def _logits_of(network: Any) -> Any:
    """Wrap a transformers model: images in, logits out."""
    import torch

    class Logits(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, images: Any) -> Any:
            return self.network(pixel_values=images).logits

    return Logits()
