"""``walkaround repair``."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from walkaround.cameras.options import CamerasOptions
from walkaround.cloud.options import CloudOptions
from walkaround.commands.audit import EXIT_FINDINGS, open_dataset, options_for
from walkaround.commands.console import EXIT_ACCEPTED, parse, progress, say, set_up_logging, show
from walkaround.commands.printable import printable
from walkaround.depth.options import DepthOptions
from walkaround.errors import UsageError
from walkaround.limits import check_limits
from walkaround.masks.options import MasksOptions

if TYPE_CHECKING:
    from walkaround.dataset.audit import Finding
    from walkaround.dataset.readers import Dataset
    from walkaround.runners.repair import Repaired

_WIDTH = 130


@dataclass(frozen=True, kw_only=True)
class RepairCommand:
    """Make right what an audit found, in a tree beside ROOT that readers prefer; ROOT stays as it is."""

    root: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="ROOT")]
    """ROOT: the folder of a dataset in any layout, or a zip archive of one."""
    findings: Path | None = None
    """findings.parquet of `walkaround audit`; None audits first."""
    overlay: Path | None = None
    """Where repairs go; None is ROOT.repaired, which readers find by themselves."""
    masks: Path | None = None
    """Masks that are a tree or archive of their own; None finds ROOT_mask and MVImgNet_mask."""
    only: tuple[str, ...] = ()
    """Codes to repair; all without this."""
    again: bool = False
    """Repair again what was done before; else a scene is passed over until its files change."""
    rejected: bool = False
    """Of our own datasets, repair rejected sequences too."""
    workers: int = 0
    """Scenes at once; 0 is one a core, fewer when memory would not do."""
    threads: int = 1
    """Threads for each scene; 0 means all cores."""
    time_limit_s: float = 3600.0
    """Give up on a scene after so many seconds; 0 for never."""
    seed: int = 0
    """Seed of everything random."""
    refresh: bool = False
    """Look for scenes anew, when files changed inside of scenes."""
    json: bool = False
    """Print a line of JSON a scene."""
    verbose: bool = False
    """Log more."""
    cameras: CamerasOptions = field(default_factory=CamerasOptions)
    depth: DepthOptions = field(default_factory=DepthOptions)
    # the options of the masks stage share their name with the tree of masks
    mask_stage: MasksOptions = field(default_factory=MasksOptions)
    cloud: CloudOptions = field(default_factory=CloudOptions)


def run(arguments: list[str]) -> int:
    """Repair, and say what came of it; 0 when nothing is left, 3 otherwise."""
    command = parse(RepairCommand, "repair", arguments)
    set_up_logging(verbose=command.verbose, stage_lines=False)
    _check(command)
    from walkaround.dataset.readers.overlay import overlay_of
    from walkaround.repair import RepairOptions
    from walkaround.runners.repair import repair_scenes

    dataset = open_dataset(command.root, command.masks, None, command).without_overlay()
    overlay = command.overlay or overlay_of(dataset.root)
    options = RepairOptions(
        only=command.only,
        expect_masks=options_for(dataset).expect_masks,
        seed=command.seed,
        threads=command.threads,
        cameras=command.cameras,
        depth=command.depth,
        masks=command.mask_stage,
        cloud=command.cloud,
    )
    outcomes = []
    with progress() as report:
        keys = _keys(dataset, command, options.expect_masks)
        for outcome in repair_scenes(
            dataset,
            keys,
            overlay,
            options=options,
            workers=command.workers,
            again=command.again,
            time_limit_s=command.time_limit_s or None,
        ):
            outcomes.append(outcome)
            report("repair", len(outcomes) / len(keys))
            if command.json:
                show(json.dumps(dataclasses.asdict(outcome), ensure_ascii=False))
    if not command.json:
        _print(outcomes)
    say(f"repairs: {overlay}")
    left = any(outcome.status in ("failed", "partly") for outcome in outcomes)
    return EXIT_FINDINGS if left else EXIT_ACCEPTED


def _check(command: RepairCommand) -> None:
    from walkaround.dataset.audit.codes import KINDS_BY_CODE

    unknown = [code for code in command.only if code not in KINDS_BY_CODE]
    if unknown:
        raise UsageError(f"--only {unknown[0]!r} is no code; use some of {', '.join(KINDS_BY_CODE)}.")
    if command.workers < 0 or command.threads < 0 or command.time_limit_s < 0:
        raise UsageError("--workers, --threads and --time-limit-s are at least 0.")
    stages = {name: dataclasses.asdict(getattr(command, name)) for name in ("depth", "cloud")}
    check_limits({**stages, "masks": dataclasses.asdict(command.mask_stage)})


def _keys(dataset: Dataset, command: RepairCommand, expect_masks: bool) -> list[str]:
    """Return the scenes with faults, those that are wanted, in the dataset's order."""
    from walkaround.dataset.audit import AuditOptions, read_findings
    from walkaround.runners.audit import audit_dataset

    found: list[Finding] = []
    if command.findings is not None:
        found.extend(read_findings(command.findings))
    else:
        say("auditing first")
        options = AuditOptions(decode=True, expect_masks=expect_masks)
        audit_dataset(dataset, options=options, workers=command.workers, take=found.append)
    return sorted(_wanted(found, command))


def _wanted(findings: Iterable[Finding], command: RepairCommand) -> set[str]:
    return {f.key for f in findings if f.severity != "note" and (not command.only or f.code in command.only)}


def _print(outcomes: list[Repaired]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(width=None if sys.stdout.isatty() else _WIDTH)
    counts = Counter(outcome.status for outcome in outcomes)
    before = sum(outcome.passed_over for outcome in outcomes)
    said = ", ".join(f"{number:,} {status}" for status, number in sorted(counts.items())) or "none"
    console.print(f"{said}{f' ({before:,} of them before)' if before else ''}")
    if not outcomes:
        return
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in ("scene", "status", "faults", "done", "what is left"):
        table.add_column(column, overflow="fold")
    tints = {"repaired": "green", "clean": "green", "partly": "yellow", "failed": "red"}
    for outcome in sorted(outcomes, key=lambda outcome: outcome.key)[:200]:
        table.add_row(
            Text(printable(outcome.key)), Text(outcome.status, tints[outcome.status]),
            ", ".join(outcome.codes), ", ".join(outcome.actions), Text(printable(outcome.message)),
        )  # fmt: skip
    console.print(table)
    if len(outcomes) > 200:
        console.print(f"and {len(outcomes) - 200:,} more; repair.json of each scene says it all")
