"""Keep the collector's file names out of everything a dataset says."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any


class Wipe:
    """Replaces the names of the input and of its photos by neutral words, in any nested plain data."""

    def __init__(self, source: Path, photo_paths: Iterable[Path] = ()) -> None:
        names: dict[str, str] = {}
        for number, photo in enumerate(photo_paths, start=1):
            names |= {str(photo): f"photo {number}", photo.name: f"photo {number}"}
        whole = {str(source), str(source.absolute()), str(source.resolve()), source.name}
        names |= {name: "the input" for name in whole if name}
        self._names = {name: word for name, word in names.items() if name not in (".", "..", "/")}
        longest_first = sorted(self._names, key=len, reverse=True)
        self._pattern = re.compile(rf"(?<![\w.-])({'|'.join(map(re.escape, longest_first))})(?![\w-]|\.\w)")

    def __call__(self, value: Any) -> Any:
        """Return ``value`` with every name replaced."""
        if isinstance(value, str):
            return self._pattern.sub(lambda match: self._names[match[1]], value) if self._names else value
        if isinstance(value, dict):
            return {self(key): self(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self(item) for item in value]
        if isinstance(value, tuple):
            return tuple(self(item) for item in value)
        return value
