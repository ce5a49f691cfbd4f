"""``walkaround audit``."""

from __future__ import annotations

import dataclasses
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from walkaround.commands.console import EXIT_ACCEPTED, parse, progress, say, set_up_logging, show
from walkaround.commands.printable import printable
from walkaround.errors import UsageError

if TYPE_CHECKING:
    from walkaround.dataset.audit.summary import Summary
    from walkaround.dataset.readers import Dataset

EXIT_FINDINGS = 3
_WIDTH = 130


@dataclass(frozen=True, kw_only=True)
class AuditCommand:
    """Look at every scene of a dataset, ours or downloaded: what is missing, broken or cannot be right."""

    root: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="ROOT")]
    """ROOT: the folder of a dataset in any layout, or a zip archive of one."""
    masks: Path | None = None
    """Masks that are a tree or archive of their own; None finds ROOT_mask and MVImgNet_mask."""
    overlay: Path | None = None
    """Where repairs lie; None finds ROOT.repaired."""
    decode: bool = False
    """Decode every image, which finds damage inside of files too; else their headers and ends are looked at.
    Masks are decoded in either case."""
    rejected: bool = False
    """Of our own datasets, look at rejected sequences too."""
    workers: int = 0
    """Processes at once; 0 is one a core."""
    out: Path | None = None
    """Folder for findings.parquet and audit.html; None is ROOT.audit."""
    refresh: bool = False
    """Look for scenes anew, when files changed inside of scenes."""
    json: bool = False
    """Print the counts as JSON."""
    verbose: bool = False
    """Log more."""


def run(arguments: list[str]) -> int:
    """Audit, write findings and page, print the table; 0 without findings, 3 with."""
    command = parse(AuditCommand, "audit", arguments)
    set_up_logging(verbose=command.verbose)
    if command.workers < 0:
        raise UsageError(f"--workers {command.workers} is out of range: at least 0.")
    from walkaround.dataset.audit.finding import FINDINGS_NAME
    from walkaround.dataset.audit.page import PAGE_NAME, write_page
    from walkaround.runners.audit import audit_dataset

    dataset = open_dataset(command.root, command.masks, command.overlay, command)
    out = command.out or beside(command.root)
    options = options_for(dataset, decode=command.decode)
    with progress() as report:
        summary = audit_dataset(
            dataset,
            options=options,
            workers=command.workers,
            out=out,
            progress=lambda share: report("audit", share),
        )
    write_page(out / PAGE_NAME, summary, dataset, title=command.root.resolve().name)
    if command.json:
        show(json.dumps(_plain(summary), indent=2, ensure_ascii=False))
    else:
        _print(summary)
        if not options.expect_masks:
            say("No scene has masks. If they lie in a tree of their own, name it: --masks TREE.")
    say(f"findings: {out / FINDINGS_NAME}\npage: {out / PAGE_NAME}")
    return EXIT_ACCEPTED if summary.is_clean else EXIT_FINDINGS


def open_dataset(root: Path, masks: Path | None, overlay: Path | None, command: Any) -> Dataset:
    """Open what a command names."""
    from walkaround.dataset.readers import Dataset

    return Dataset(
        root,
        masks=masks or "auto",
        overlay=overlay or "auto",
        statuses=("accepted", "rejected") if command.rejected else ("accepted",),
        refresh=command.refresh,
    )


def beside(root: Path) -> Path:
    """Return where an audit is written unless another place is named."""
    root = root.resolve() if root.name in ("", "..") else root
    return root.with_name(f"{root.name}.audit")


def options_for(dataset: Dataset, *, decode: bool = False) -> Any:
    """Return how to audit: a download of which no scene has masks is not asked for them."""
    from walkaround.dataset.audit import AuditOptions

    expect = dataset.layout == "walkaround" or len(dataset.query("num_masks > 0")) > 0
    return AuditOptions(decode=decode, expect_masks=expect)


def _plain(summary: Summary) -> dict[str, Any]:
    return {
        "num_scenes": summary.num_scenes,
        "num_images": summary.num_images,
        "num_clean": summary.num_clean,
        "codes": {
            code: {
                "scenes": summary.scenes[code],
                "files": summary.files[code],
                "repairable": summary.repairable[code],
                "example": dataclasses.asdict(summary.samples[code][0]),
            }
            for code in summary.codes
        },
    }


def _print(summary: Summary) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from walkaround.dataset.audit.codes import ACTIONS, KINDS_BY_CODE

    console = Console(width=None if sys.stdout.isatty() else _WIDTH)
    bad = summary.num_scenes - summary.num_clean
    console.print(
        Text.assemble(
            (f"{summary.num_scenes:,}", "bold"), f" scenes, {summary.num_images:,} images: ",
            (f"{summary.num_clean:,} without fault", "green"),
            (f", {bad:,} with faults" if bad else "", "red"),
        )
    )  # fmt: skip
    if not summary.codes:
        return
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("code", no_wrap=True)
    table.add_column("scenes", justify="right")
    table.add_column("files", justify="right")
    table.add_column("for example", overflow="fold", ratio=3)
    table.add_column("what repair does", ratio=2)
    tints = {"error": "red", "warning": "yellow", "note": "dim"}
    for code in summary.codes:
        kind, example = KINDS_BY_CODE[code], summary.samples[code][0]
        said = f"{example.key} {example.file}: {example.value}" if example.value else example.key
        action = "" if kind.severity == "note" else ACTIONS[kind.repair if summary.repairable[code] else ""]
        table.add_row(
            Text(code, tints[kind.severity]), f"{summary.scenes[code]:,}", f"{summary.files[code]:,}",
            Text(printable(said)), Text(action, "dim"),
        )  # fmt: skip
    console.print(table)
