"""What a user can set about the object's masks."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class MasksOptions:
    """Options of the object's masks."""
