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

    root: Annotated[Path, tyro.conf.Positional]
    """ROOT, the --out of the batch."""
    captures: Path | None = None
    """The manifest or folder of the batch: names the files of captures that failed."""
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
    failed = _failed(command.root) if snapshot.failed else ()
    if command.json:
        live = snapshot.is_live(time.time())
        failures = [
            {"key": item.key, "class_label": item.class_label, "message": item.message} for item in failed
        ]
        show(json.dumps({**plain(snapshot), "live": live, "failures": failures}, indent=2))
        return EXIT_ACCEPTED
    _print(snapshot)
    names = _names(command) if command.captures is not None else {}
    for line in failure_lines(failed, command.root, names):
        show(line)
    return EXIT_ACCEPTED


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


def _failed(root: Path) -> tuple[Outcome, ...]:
    histories = read_histories(batch_folder(root))
    outcomes = (history.outcome for history in histories.values())
    return tuple(outcome for outcome in outcomes if outcome and outcome.outcome == "failed")


def _names(command: StatusCommand) -> dict[str, str]:
    from walkaround.dataset.manifest import read_captures

    entries = read_captures(command.captures or Path(), class_label=command.class_label)
    return {entry.key: entry.source for entry in entries}
