"""``walkaround models``."""

from __future__ import annotations

from dataclasses import dataclass

from walkaround.commands.console import EXIT_ACCEPTED, parse, show
from walkaround.io.cache import cache_folder
from walkaround.masks.models import MODELS, SHIPPED


@dataclass(frozen=True, kw_only=True)
class ModelsCommand:
    """List the learned mask models that --masks.model knows by name."""


def run(arguments: list[str]) -> int:
    """Print a table: name, licence of the weights, size, whether it is in the cache, source."""
    parse(ModelsCommand, "models", arguments)
    folder = cache_folder()
    show(f"{'name':<14} {'licence':<11} {'MB':>5}  {'cached':<6}  source")
    for name, shipped in SHIPPED.items():
        size_mb = shipped.path.stat().st_size / 1e6
        show(f"{name:<14} {shipped.licence:<11} {size_mb:5.0f}  {'yes':<6}  comes with walkaround")
    for name, model in MODELS.items():
        cached = "yes" if (folder / model.file).is_file() else "no"
        show(f"{name:<14} {model.licence:<11} {model.size_bytes / 1e6:5.0f}  {cached:<6}  {model.source}")
    show(f"cache: {folder} (set WALKAROUND_CACHE for another)")
    return EXIT_ACCEPTED
