"""What the subcommands share: parsing with tyro, logging, progress bars, the summary of a build."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TypeVar

from walkaround.dataset.schema import SequenceRecord
from walkaround.pipeline import BuildProgress, no_build_progress, sequence_folder
from walkaround.quality.rules import RULES_BY_CODE

EXIT_ACCEPTED, EXIT_DIED, EXIT_USAGE, EXIT_REJECTED, EXIT_INTERRUPTED = 0, 1, 2, 3, 130

_T = TypeVar("_T")


def parse(command: type[_T], name: str, arguments: list[str]) -> _T:
    """Let tyro read the options of one subcommand; it exits with code 2 on wrong usage."""
    import tyro

    return tyro.cli(
        command,
        args=arguments,
        prog=f"walkaround {name}",
        description=command.__doc__,
        config=(tyro.conf.FlagCreatePairsOff,),
    )


def say(text: str) -> None:
    """Write a line for a person, on stderr."""
    sys.stderr.write(text + "\n")


def show(text: str) -> None:
    """Write a result, on stdout."""
    sys.stdout.write(text + "\n")


def exit_code(record: SequenceRecord) -> int:
    """Return the exit code that a sequence's status stands for."""
    return EXIT_REJECTED if record.status == "rejected" else EXIT_ACCEPTED


def say_result(record: SequenceRecord, root: Path) -> None:
    """Summarise a build on stderr: status, reasons with their text, where the report is."""
    say(f"{record.status}: {_reached(record)}")
    seen = {stage.reason: stage.message for stage in record.stages.values() if stage.reason}
    for code in record.reasons:
        rule = RULES_BY_CODE.get(code)
        kind = "warning" if rule and rule.verdict == "warn" else "reason"
        say(f"  {kind} {code}: {seen.get(code) or (rule.text if rule else record.message)}")
    for text in record.warnings:
        say(f"  note: {text}")
    say(f"report: {sequence_folder(root, record) / 'report.html'}")


def _reached(record: SequenceRecord) -> str:
    """Say how far the frames came; a capture rejected early has none, or none with a camera."""
    if "cameras" in record.stages:
        registered = sum(frame.registered for frame in record.frames)
        return f"{registered} of {len(record.frames)} frames registered"
    if "frames" in record.stages:
        kept = len(record.frames)
        return f"{kept} {'frame' if kept == 1 else 'frames'} kept, no cameras estimated"
    found = record.source.num_frames
    return f"no frames kept; the input has {found} {'frame' if found == 1 else 'frames'}"


def set_up_logging(*, verbose: bool, stage_lines: bool = True) -> None:
    """Send the package's log to stderr; on a terminal the progress bars stand for the stages' lines.

    A batch leaves the stages' lines out everywhere: those of many sequences would run into each other.
    """
    quiet = sys.stderr.isatty() or not stage_lines
    level = logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(name)s: %(message)s" if verbose else "%(message)s"))
    package = logging.getLogger("walkaround")
    package.handlers[:] = [handler]
    package.setLevel(level)
    package.propagate = False


def progress() -> AbstractContextManager[BuildProgress]:
    """Return a context that gives a progress function: bars on a terminal, silence elsewhere."""
    return _bars() if sys.stderr.isatty() else nullcontext(no_build_progress)


@contextmanager
def _bars() -> Iterator[BuildProgress]:
    """Show one bar a stage on stderr."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description:<10}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bars:
        tasks: dict[str, int] = {}

        def report(stage: str, share: float) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=1.0)
            bars.update(tasks[stage], completed=share)  # type: ignore[arg-type]

        yield report
