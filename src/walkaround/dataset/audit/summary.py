"""What an audit found, counted: small, whatever the number of scenes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from walkaround.dataset.audit.codes import KINDS
from walkaround.dataset.audit.finding import Finding

SAMPLES = 8
"""Findings of a code that are kept for the page."""


@dataclass(kw_only=True)
class Summary:
    """Counts by code, and a few findings of each."""

    num_scenes: int = 0
    num_images: int = 0
    num_clean: int = 0
    """Scenes without any error or warning."""
    scenes: Counter[str] = field(default_factory=Counter)
    """Code -> scenes."""
    files: Counter[str] = field(default_factory=Counter)
    """Code -> files."""
    repairable: Counter[str] = field(default_factory=Counter)
    """Code -> scenes of which repair can do something about it."""
    samples: dict[str, list[Finding]] = field(default_factory=dict)

    def add(self, num_images: int, findings: list[Finding]) -> None:
        """Count one scene."""
        self.num_scenes += 1
        self.num_images += num_images
        self.num_clean += all(finding.severity == "note" for finding in findings)
        for code in {finding.code for finding in findings}:
            self.scenes[code] += 1
            self.repairable[code] += any(f.repair for f in findings if f.code == code)
        for finding in findings:
            self.files[finding.code] += finding.count
            kept = self.samples.setdefault(finding.code, [])
            if len(kept) < SAMPLES:
                kept.append(finding)

    @property
    def codes(self) -> list[str]:
        """Codes that were found, in the order of the table."""
        return [kind.code for kind in KINDS if self.scenes[kind.code]]

    @property
    def is_clean(self) -> bool:
        """True when there is nothing but notes."""
        return self.num_clean == self.num_scenes
