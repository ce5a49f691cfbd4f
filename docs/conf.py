"""Sphinx: ``make docs`` builds the site into build/docs; a warning is an error."""

from __future__ import annotations

import dataclasses
import importlib.util
import re
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

from sphinx.application import Sphinx

from walkaround import __version__

project = "walkaround"
author = "The walkaround authors"
copyright = "The walkaround authors, Apache-2.0"
release = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "cli_reference",
    "drawings",
    "short_names",
]
exclude_patterns = ["images/*"]
nitpicky = True
# Only our own names must resolve: other projects' inventories would have to be downloaded.
nitpick_ignore_regex = [(r"py:.*", r"(?!walkaround\.).*")]

myst_heading_anchors = 3
myst_links_external_new_tab = False
smartquotes_action = "D"  # dashes of docstrings; quotes stay as they are typed

autodoc_member_order = "bysource"
autodoc_default_options = {"undoc-members": True}  # fields say much by their names and types
ARRAYS = ("FloatArray", "Float32Array", "ByteArray", "BoolArray", "IntArray")
autodoc_type_aliases = {name: name for name in ARRAYS}
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_mock_imports = [] if importlib.util.find_spec("torch") else ["torch"]
python_maximum_signature_line_length = 88
napoleon_google_docstring = False
napoleon_use_rtype = False

toc_object_entries_show_parents = "hide"

html_theme = "furo"
html_title = "walkaround"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_copy_source = False
html_theme_options = {"top_of_page_buttons": []}
copybutton_prompt_text = r"\$ |>>> |\.\.\. "
copybutton_prompt_is_regexp = True


def swap_colons(old: str, new: str) -> Callable[..., None]:
    """Return a handler for docstrings of fields, where napoleon takes "Shape: a vase." for a type."""

    def handle(app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
        if what in ("attribute", "data", "property"):
            lines[:] = [line.replace(old, new) for line in lines]

    return handle


def link_pages(app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    """Make links of the pages that docstrings name: docs/format.md."""
    lines[:] = [re.sub(r"docs/(\w+)\.md", r":doc:`\1`", line) for line in lines]


def no_field_list(app: Sphinx, what: str, name: str, thing: object, *rest: object) -> tuple[str, None] | None:
    """Leave out the signature of a dataclass: its fields follow, each with its default and text."""
    return ("", None) if what == "class" and dataclasses.is_dataclass(thing) else None


def setup(app: Sphinx) -> None:
    """Hide the colons before napoleon (500) and bring them back after it; shorten signatures."""
    app.connect("autodoc-process-signature", no_field_list)
    app.connect("autodoc-process-docstring", link_pages)
    app.connect("autodoc-process-docstring", swap_colons(": ", "\N{MODIFIER LETTER COLON} "), priority=400)
    app.connect("autodoc-process-docstring", swap_colons("\N{MODIFIER LETTER COLON} ", ": "), priority=600)
