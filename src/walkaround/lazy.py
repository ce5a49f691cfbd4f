"""Public names of a package that load with their first use.

A process that only needs a stage's options (the command line, a runner's parent) does not load the
libraries that its work needs. A package's ``__init__`` imports the names for type checkers alone::

    if TYPE_CHECKING:
        from walkaround.depth.estimate import write_depth_maps
    else:
        __getattr__ = lazy_names(__name__, {"walkaround.depth.estimate": ("write_depth_maps",)})
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any


def lazy_names(package: str, modules: Mapping[str, tuple[str, ...]]) -> Callable[[str], Any]:
    """Return a ``__getattr__`` for ``package`` (PEP 562).

    Parameters
    ----------
    package
        The package's ``__name__``.
    modules
        Module -> names that it defines.
    """
    home = {name: module for module, names in modules.items() for name in names}

    def __getattr__(name: str) -> Any:
        if name not in home:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(home[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    return __getattr__
