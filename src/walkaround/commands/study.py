"""``walkaround study``."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro

from walkaround.commands.console import EXIT_ACCEPTED, parse, progress, say, set_up_logging, show
from walkaround.errors import UsageError
from walkaround.studies import STUDIES, load_study
from walkaround.threads import keep_freed_memory


@dataclass(frozen=True, kw_only=True)
class _Command:
    """Run a study."""

    out: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")]
    """Folder of the study's data, jobs and results; the same command goes on there."""
    until: str = "table"
    """Last step to do: prepare, train, evaluate or table."""
    overwrite: bool = False
    """Remove what another recipe left in OUT."""
    json: bool = False
    """Print the results as JSON."""
    verbose: bool = False
    """Log more."""


def run(arguments: list[str]) -> int:
    """Run the study that the first argument names."""
    if not arguments or arguments[0] in ("-h", "--help"):
        show(_overview())
        return EXIT_ACCEPTED if arguments else 2
    study = load_study(arguments[0])
    preset, rest = _preset(arguments[1:])
    if preset not in study.presets:
        raise UsageError(f"--preset {preset!r:.40}: there are {', '.join(study.presets)}.")
    recipe_type: Any = study.recipe_type
    start = study.presets[preset]
    command_type = dataclasses.make_dataclass(
        "StudyCommand",
        [("recipe", Annotated[recipe_type, tyro.conf.arg(name="")], field(default_factory=lambda: start))],
        bases=(_Command,),
        frozen=True,
        kw_only=True,
    )
    command_type.__doc__ = (
        f"{study.text}\n\n--preset NAME starts from other values: {', '.join(study.presets)}."
    )
    command: Any = parse(command_type, f"study {study.name}", rest)
    set_up_logging(verbose=command.verbose)
    keep_freed_memory()
    from walkaround.studies.frame import run_study
    from walkaround.studies.frame.table import as_json, as_text

    with progress() as report:
        results = run_study(
            study,
            command.recipe,
            command.out,
            until=command.until,
            overwrite=command.overwrite,
            progress=report,
        )
    show(json.dumps(as_json(results), indent=2) if command.json else as_text(results).rstrip())
    if command.until == "table":
        say(f"results: {command.out / 'results.json'}, {command.out / 'report.html'}")
    return EXIT_ACCEPTED


def _preset(arguments: list[str]) -> tuple[str, list[str]]:
    """Take ``--preset NAME`` out of the arguments: it decides about the defaults of all others."""
    rest, preset = [], "miniature"
    left = iter(arguments)
    for argument in left:
        if argument == "--preset":
            preset = next(left, "")
        elif argument.startswith("--preset="):
            preset = argument.partition("=")[2]
        else:
            rest.append(argument)
    return preset, rest


def _overview() -> str:
    lines = [f"  {name:<10} {load_study(name).text}" for name in STUDIES]
    return (
        "usage: walkaround study NAME OUT ...\n\n"
        "Run a study of what multi-view data is good for (docs/studies.md).\n\n"
        "studies:\n" + "\n".join(lines) + "\n\n`walkaround study NAME --help` lists a study's options."
    )
