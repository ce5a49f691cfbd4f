"""Text out of a dataset, which may be anybody's, made safe for a terminal."""

from __future__ import annotations


def printable(text: str) -> str:
    """Replace what a terminal would obey, and line ends by spaces."""
    return "".join(char if char.isprintable() else " " if char in "\n\r\t" else "\ufffd" for char in text)
