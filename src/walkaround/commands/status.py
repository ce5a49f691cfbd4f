"""``walkaround status``."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from walkaround.commands.board import board, counts, duration
from walkaround.commands.console import EXIT_ACCEPTED, parse, show
from walkaround.errors import UsageError
from walkaround.runners.failures import failure_log
from walkaround.runners.journal import Outcome, batch_folder, read_histories
from walkaround.runners.progress import Snapshot, plain, read_snapshot

_REFRESH_S = 1.0


@dataclass(frozen=True, kw_only=True)
class StatusCommand:
    """Show how far the batch of a dataset is, from any terminal, while it runs and afterwards."""

    root: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="ROOT")]
    """ROOT, the --out of the batch."""
    captures: Path | None = None
    """The manifest or folder of the batch: lists by name what has no sequence (failed, unreadable,
    refused, doubled), with the reason."""
    class_label: str | None = None
    """The --class-label of the batch, where it had one."""
    watch: bool = False
    """Refresh every second until the batch ends; Ctrl-C leaves."""
    json: bool = False
    """Print one JSON object."""


def run(arguments: list[str]) -> int:
    """Show a snapshot, or one after the other."""
    command = parse(StatusCommand, "status", arguments)
    snapshot = _snapshot(command.root)
    if command.watch:
        snapshot = _watch(command.root, snapshot)
    names = _names(command) if command.captures is not None else {}
    without = _without_sequence(command.root) if snapshot.failed or snapshot.rejected else ()
    failed = tuple(item for item in without if item.outcome == "failed")
    refused = tuple(item for item in without if item.outcome != "failed")
    if command.json:
        live = snapshot.is_live(time.time())
        listed = {"failures": _plain(failed, names), "without_sequence": _plain(refused, names)}
        show(json.dumps({**plain(snapshot), "live": live, **listed}, indent=2, ensure_ascii=False))
        return EXIT_ACCEPTED
    _print(snapshot)
    for line in failure_lines(failed, command.root, names):
        show(line)
    if names:
        for item in refused:
            what = f"{item.key} {item.class_label} {names.get(item.key, '')}"
            show(f"rejected: {what}: {', '.join(item.reasons)}: {item.message}")
    elif refused:
        show(f"{len(refused)} rejected without a sequence; --captures FOLDER_OR_MANIFEST lists them by name")
    return EXIT_ACCEPTED


def _plain(items: tuple[Outcome, ...], names: dict[str, str]) -> list[dict[str, object]]:
    """Return outcomes for JSON; with their sources where those are known."""
    return [
        {
            "key": item.key,
            "class_label": item.class_label,
            "reasons": list(item.reasons),
            "message": item.message,
            **({"source": names[item.key]} if item.key in names else {}),
        }
        for item in items
    ]


def failure_lines(failed: tuple[Outcome, ...], root: Path, names: dict[str, str]) -> Iterator[str]:
    """Say which captures are set aside and where their logs lie; ``names`` are sources by key."""
    for item in failed:
        source = f" {names[item.key]}" if item.key in names else ""
        log = failure_log(batch_folder(root), item.key)
        yield f"failed: {item.key} {item.class_label}{source}: {item.message}; log: {log}"
    if failed:
        yield "--retry-failed tries them again"


def _snapshot(root: Path) -> Snapshot:
    snapshot = read_snapshot(batch_folder(root))
    if snapshot is None:
        what = "holds no batch" if root.is_dir() else "does not exist"
        raise UsageError(f"{root} {what}. `walkaround build FOLDER_OR_MANIFEST --out {root}` starts one.")
    return snapshot


def _watch(root: Path, snapshot: Snapshot) -> Snapshot:
    from rich.console import Console
    from rich.live import Live

    with (
        suppress(KeyboardInterrupt),
        Live(console=Console(highlight=False), auto_refresh=False, transient=True) as live,
    ):
        while snapshot.is_live(time.time()):
            live.update(board(snapshot), refresh=True)
            time.sleep(_REFRESH_S)
            snapshot = _snapshot(root)
    return snapshot


def _print(snapshot: Snapshot) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    console.print(_headline(snapshot), soft_wrap=True)
    if snapshot.is_live(time.time()):
        console.print(board(snapshot))
    else:
        console.print(f"{snapshot.done} of {snapshot.total} captures: {counts(snapshot)}", soft_wrap=True)


def _headline(snapshot: Snapshot) -> str:
    now = time.time()
    where = f"{snapshot.runner}, {snapshot.workers} workers, process {snapshot.pid} on {snapshot.host}"
    ran = duration(snapshot.updated - snapshot.started)
    if snapshot.is_live(now):
        return f"running for {ran} ({where})"
    ago = f"{duration(now - snapshot.updated)} ago, after {ran}"
    if snapshot.state == "running":
        return f"cut off {ago} ({where}); the same command continues"
    if snapshot.state == "stopped":
        return f"stopped {ago}: {snapshot.message}"
    return f"{snapshot.state} {ago}" + (
        "; the same command continues" if snapshot.state == "interrupted" else ""
    )


def _without_sequence(root: Path) -> tuple[Outcome, ...]:
    """Return the captures of which there is no sequence, in the order in which they ended."""
    histories = read_histories(batch_folder(root))
    outcomes = (history.outcome for history in histories.values())
    return tuple(outcome for outcome in outcomes if outcome and not outcome.instance_id)


def _names(command: StatusCommand) -> dict[str, str]:
    from walkaround.dataset.manifest import read_captures

    entries = read_captures(command.captures or Path(), class_label=command.class_label)
    return {entry.key: entry.source for entry in entries}
