"""Sizes of the network. What a file of weights was trained with is kept in its metadata."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class NetworkOptions:
    """Channels and depth; the same network takes 3 frames (two exposures) and 5 (three)."""

    flow_channels: int = 32
    """Of the flow network, at a quarter of the size."""
    weight_channels: int = 16
    """Of the weight network, at half the size."""
    feature_channels: int = 32
    """Of the features that are aligned and fused, at a quarter of the size."""
    body_channels: int = 48
    """Of the reconstruction at a quarter of the size."""
    detail_channels: int = 32
    """Of the reconstruction at half the size."""
    num_blocks: int = 4
    """Residual blocks of the reconstruction."""
    kept_within: float = 0.03
    """Well exposed pixels of the reference are kept to within this, in the recorded curve (8 of 255)."""
