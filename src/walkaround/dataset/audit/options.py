"""What can be chosen about an audit."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class AuditOptions:
    """How closely scenes are looked at."""

    decode: bool = False
    """Decode every image, which finds damage inside of files too; else their headers and ends are looked at.
    Masks are decoded in either case."""
    expect_masks: bool = True
    """Whether a scene without any mask is worth a finding."""
