"""Sizes of the network. What a file of weights was trained with is kept in its metadata."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class NetworkOptions:
    """Channels and planes; weights fit any number of views and planes, but only these channels."""

    coarse_channels: int = 16
    """Of the features at a quarter of the size, which are swept over the whole range."""
    fine_channels: int = 8
    """Of the features at half the size, which are swept around the first estimate."""
    volume_channels: int = 8
    """Of the first layer of the regularisation; 2 and 4 times as many at its halved sizes."""
    planes: int = 32
    """Planes of the first sweep in training; one is then about a third of a pixel of a quarter-size image."""
    fine_planes: int = 8
    """Planes of the second sweep, half as far apart."""
