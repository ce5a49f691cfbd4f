"""What a user can set about the object's cloud."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class CloudOptions:
    """Options of the object's cloud."""
