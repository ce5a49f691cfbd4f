"""The command line: subcommands, logging, exit codes.

``walkaround --help`` imports nothing heavy; a subcommand's options and stages load when it is chosen.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from walkaround import __version__
from walkaround.errors import SequenceRejected, WalkaroundError

if TYPE_CHECKING:
    from walkaround.dataset.schema import SequenceRecord

logger = logging.getLogger(__name__)

EXIT_ACCEPTED, EXIT_USAGE, EXIT_REJECTED, EXIT_INTERRUPTED = 0, 2, 3, 130

_COMMANDS = {
    "build": "turn a video or a folder of photos into a sequence of a dataset",
    "simulate": "render a walk-around of an object with known truth",
    "demo": "simulate a capture, build it, and compare it with the truth",
    "evaluate": "compare a sequence with the truth",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code: 0 accepted, 3 rejected, 2 error, 130 interrupted."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _dispatch(arguments)
    except SequenceRejected as error:
        _say(f"rejected ({error.reason}): {error}")
        return EXIT_REJECTED
    except WalkaroundError as error:
        _say(f"error: {error}")
        return EXIT_USAGE
    except KeyboardInterrupt:
        _say("interrupted; the same command continues after the last finished stage")
        return EXIT_INTERRUPTED


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        _print(_overview())
        return EXIT_ACCEPTED if arguments else EXIT_USAGE
    if arguments[0] in ("-V", "--version"):
        _print(f"walkaround {__version__}")
        return EXIT_ACCEPTED
    runners: dict[str, Callable[[list[str]], int]] = {
        "build": _build,
        "simulate": _simulate,
        "demo": _demo,
        "evaluate": _evaluate,
    }
    if arguments[0] not in runners:
        import difflib

        near = difflib.get_close_matches(arguments[0], runners, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else f"Use one of {', '.join(runners)}."
        _say(f"error: there is no command {arguments[0]!r}. {hint}")
        return EXIT_USAGE
    return runners[arguments[0]](arguments[1:])


def _overview() -> str:
    commands = "\n".join(f"  {name:<10} {text}" for name, text in _COMMANDS.items())
    return (
        "usage: walkaround COMMAND ...\n\n"
        "Turn walk-around videos of objects into a multi-view dataset.\n\n"
        f"commands:\n{commands}\n\n"
        "  --version  print the version\n"
        "  --help     print this; `walkaround COMMAND --help` lists a command's options\n\n"
        "exit codes: 0 accepted, 3 rejected with reasons, 2 wrong usage or unreadable input, 130 interrupted"
    )


def _parse(command: type[Any], name: str, arguments: list[str]) -> Any:
    """Let tyro read the options of one subcommand."""
    import tyro

    return tyro.cli(command, args=arguments, prog=f"walkaround {name}", description=command.__doc__)


def _build(arguments: list[str]) -> int:
    from walkaround.commands import BuildCommand
    from walkaround.dataset.schema import record_to_dict
    from walkaround.pipeline import build_sequence

    command: BuildCommand = _parse(BuildCommand, "build", arguments)
    _set_up_logging(command.verbose)
    with _progress() as progress:
        record = build_sequence(command.input, command.out, options=command.options(), progress=progress)
    if command.json:
        _print(json.dumps(record_to_dict(record), indent=2, ensure_ascii=False))
    _say_result(record, command.out)
    return EXIT_REJECTED if record.status == "rejected" else EXIT_ACCEPTED


def _simulate(arguments: list[str]) -> int:
    from walkaround.commands import SimulateCommand
    from walkaround.simulate import simulate_capture

    command: SimulateCommand = _parse(SimulateCommand, "simulate", arguments)
    _set_up_logging(command.verbose)
    with _progress() as progress:
        simulate_capture(command.out, options=command.options, progress=lambda x: progress("simulate", x))
    _say(f"written: {command.out}")
    return EXIT_ACCEPTED


def _evaluate(arguments: list[str]) -> int:
    from walkaround.commands import EvaluateCommand
    from walkaround.quality.evaluate import evaluate_sequence, format_evaluation

    command: EvaluateCommand = _parse(EvaluateCommand, "evaluate", arguments)
    _set_up_logging(command.verbose)
    evaluation = evaluate_sequence(command.sequence, command.truth)
    if command.json:
        import dataclasses

        _print(json.dumps(dataclasses.asdict(evaluation), indent=2))
    else:
        _print(format_evaluation(evaluation))
    return EXIT_ACCEPTED


def _demo(arguments: list[str]) -> int:
    from walkaround.commands import DemoCommand
    from walkaround.demo import run_demo

    command: DemoCommand = _parse(DemoCommand, "demo", arguments)
    _set_up_logging(command.verbose)
    with _progress() as progress:
        record, table, report = run_demo(command.out, seed=command.seed, progress=progress)
    _print(table)
    _say_result(record, report.parents[2])
    return EXIT_REJECTED if record.status == "rejected" else EXIT_ACCEPTED


def _say_result(record: SequenceRecord, root: Any) -> None:
    """Summarise a build on stderr: status, reasons with their text, where the report is."""
    from walkaround.pipeline import sequence_folder
    from walkaround.quality.rules import RULES_BY_CODE

    registered = sum(frame.registered for frame in record.frames)
    _say(f"{record.status}: {registered} of {len(record.frames)} frames registered")
    for code in record.reasons:
        rule = RULES_BY_CODE.get(code)
        kind = "warning" if rule and rule.verdict == "warn" else "reason"
        _say(f"  {kind} {code}: {rule.text if rule else record.message}")
    for text in record.warnings:
        _say(f"  warning: {text}")
    _say(f"report: {sequence_folder(root, record) / 'report.html'}")


def _progress() -> Any:
    """Return a context that gives a progress function: bars on a terminal, silence elsewhere."""
    if not sys.stderr.isatty():
        return nullcontext(lambda stage, share: None)
    from walkaround.commands import progress_bars

    return progress_bars()


def _set_up_logging(verbose: bool) -> None:
    quiet = sys.stderr.isatty() and not verbose  # the bars say what the log lines would
    level = logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s" if not verbose else "%(name)s: %(message)s"))
    package = logging.getLogger("walkaround")
    package.handlers[:] = [handler]
    package.setLevel(level)
    package.propagate = False


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
