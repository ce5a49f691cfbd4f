"""``walkaround verify``."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from walkaround.commands.audit import EXIT_FINDINGS
from walkaround.commands.console import EXIT_ACCEPTED, parse, progress, say, set_up_logging, show
from walkaround.commands.printable import printable
from walkaround.errors import FormatError, UsageError
from walkaround.threads import usable_cores


@dataclass(frozen=True, kw_only=True)
class VerifyCommand:
    """Check a dataset against its own records: schema, counts, sizes, catalogue, splits, and SHA256SUMS."""

    root: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="ROOT")]
    """ROOT, the folder of a dataset; of a download only SHA256SUMS is compared."""
    write: bool = False
    """Write SHA256SUMS (as `sha256sum --check` reads it) instead, for whoever gets a copy."""
    threads: int = 0
    """Threads to use; 0 means all cores."""
    json: bool = False
    """Print a line of JSON for each difference."""
    verbose: bool = False
    """Log more."""


def run(arguments: list[str]) -> int:
    """Print what differs; 0 when nothing does, 3 otherwise."""
    command = parse(VerifyCommand, "verify", arguments)
    set_up_logging(verbose=command.verbose)
    if command.threads < 0:
        raise UsageError(f"--threads {command.threads} is out of range: at least 0.")
    if not command.root.is_dir():
        raise FormatError(f"{command.root} is no folder.")
    from walkaround.dataset.audit.checksums import SUMS_NAME, check_sums, write_sums
    from walkaround.dataset.audit.verify import Difference, verify_dataset
    from walkaround.dataset.description import DATASET_NAME
    from walkaround.dataset.rows import CATALOG_NAME

    threads = command.threads or usable_cores()
    if command.write:
        count = write_sums(command.root, threads=threads)
        say(f"{command.root / SUMS_NAME}: {count:,} files")
        return EXIT_ACCEPTED
    ours = any((command.root / name).is_file() for name in (DATASET_NAME, CATALOG_NAME))
    if not ours and not (command.root / SUMS_NAME).is_file():
        raise FormatError(
            f"{command.root} has neither {DATASET_NAME} nor {SUMS_NAME} to compare with. `walkaround audit`"
            " looks at downloads; `walkaround verify --write` makes checksums."
        )
    found = 0
    with progress() as report:

        def shown(share: float) -> None:
            report("verify", share)

        if ours:
            differences = verify_dataset(command.root, threads=threads, progress=shown)
        else:
            sums = check_sums(command.root, threads=threads, progress=shown)
            differences = (Difference(path=path, text=text) for path, text in sums)
        for difference in differences:
            found += 1
            if command.json:
                show(json.dumps(dataclasses.asdict(difference), ensure_ascii=False))
            else:
                show(printable(f"{difference.path}: {difference.text}"))
    say(f"{found:,} differences" if found else "everything is as recorded")
    return EXIT_FINDINGS if found else EXIT_ACCEPTED
