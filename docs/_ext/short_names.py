"""Names in docstrings resolve by their last part, as readers do it: ``FormatError`` is ours.

A class is documented where users import it (``walkaround.dataset.readers.Dataset``), not where it is written.
"""

from __future__ import annotations

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.domains.python import PythonDomain
from sphinx.environment import BuildEnvironment
from sphinx.util.nodes import make_refnode


def resolve(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.TextElement
) -> nodes.reference | None:
    """Return a link to the one documented object whose name ends like the target, or None."""
    if node.get("refdomain") != "py":
        return None
    domain = env.domains["py"]
    assert isinstance(domain, PythonDomain)
    last = node["reftarget"].rpartition(".")[2]
    found = {name: entry for name, entry in domain.objects.items() if name.rpartition(".")[2] == last}
    kinds = {"class", "exception", "function", "data"}
    places = [(name, entry) for name, entry in found.items() if entry.objtype in kinds and not entry.aliased]
    if len(places) != 1:
        return None
    name, entry = places[0]
    return make_refnode(app.builder, node["refdoc"], entry.docname, entry.node_id, content, name)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the handler."""
    app.connect("missing-reference", resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
