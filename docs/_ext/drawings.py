"""Drawings (SVG) are put into the page itself, so that they follow the site's light and dark themes.

As files they follow the reader's system instead, which is what a code host shows.
"""

from __future__ import annotations

import re
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform


class InlineDrawings(SphinxPostTransform):
    """Replace images of SVG files by their source."""

    default_priority = 5  # before images are collected
    formats = ("html",)

    def run(self, **_: object) -> None:
        """Look at every image of a page."""
        for image in list(self.document.findall(nodes.image)):
            if image["uri"].endswith(".svg"):
                source = (Path(self.env.srcdir) / image["uri"]).read_text(encoding="utf-8")
                image.replace_self(nodes.raw("", _inline(source, image.get("alt", "")), format="html"))


def _inline(source: str, alternative: str) -> str:
    """Return the ``<svg>`` element with its alternative text."""
    element = re.sub(r"^.*?(?=<svg)", "", source, flags=re.DOTALL)
    label = nodes.make_id(alternative) and alternative.replace('"', "&quot;")
    return element.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the transform."""
    app.add_post_transform(InlineDrawings)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
