"""The logs of captures whose process died: ``ROOT/.work/batch/failed/<key>.log``."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from walkaround.io.atomic import output_error


def failure_log(folder: Path, key: str) -> Path:
    """Return where the log of a capture lies; ``folder`` is the batch's."""
    return folder / "failed" / f"{key}.log"


def log_death(folder: Path, key: str, *, attempt: int, text: str) -> None:
    """Add what one attempt left to the log of a capture.

    Raises
    ------
    OutputError
        The log cannot be written.
    """
    path = failure_log(folder, key)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w" if attempt == 1 else "a", encoding="utf-8", errors="replace") as file:
            file.write(f"== attempt {attempt}\n{text.rstrip()}\n")
    except OSError as error:
        raise output_error(path, error) from error


def forget_failure(folder: Path, key: str) -> None:
    """Remove the log of a capture that has ended well, or is tried afresh."""
    with suppress(OSError):
        failure_log(folder, key).unlink(missing_ok=True)
