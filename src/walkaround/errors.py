"""The exception tree. Each message says what, where, the value seen and the remedy.

::

    WalkaroundError
    ├── UsageError            wrong options or arguments                      exit 2
    ├── InputError            the input cannot be read at all                 exit 2
    ├── OutputError           the output cannot be written (read-only, full)  exit 2
    │   └── InUse             another process is at work there                exit 2
    ├── FormatError           a file of a dataset is not what it should be    exit 2
    ├── ProcessDied           the process of one build was aborted or killed  exit 1
    │   ├── OutOfTime         it reached its time limit, or a stage its own   exit 1
    │   └── OutOfMemory       it reached its memory limit                     exit 1
    └── SequenceRejected      a result: this capture cannot become a sequence exit 3
"""

from __future__ import annotations


class WalkaroundError(Exception):
    """Anything walkaround raises on purpose."""


class UsageError(WalkaroundError):
    """An option or argument is wrong; the message names the right ones."""


class InputError(WalkaroundError):
    """The input is missing, empty or not decodable."""


class OutputError(WalkaroundError):
    """The output folder cannot be written to, or the disk is full."""


class InUse(OutputError):
    """Another process is at work on the same output; waiting helps."""


class FormatError(WalkaroundError):
    """A file of a dataset or a truth folder breaks its format."""


class ProcessDied(WalkaroundError):
    """The process that worked on one sequence ended without a result.

    Parameters
    ----------
    message
        What happened, for a person.
    stage
        The stage it was in; empty before the first.
    signal_number
        The signal that ended it; None when it ended by itself or never started.
    native_output
        The end of what it printed on stdout and stderr.
    """

    def __init__(
        self, message: str, *, stage: str = "", signal_number: int | None = None, native_output: str = ""
    ) -> None:
        super().__init__(message)
        self.stage = stage
        self.signal_number = signal_number
        self.native_output = native_output


class OutOfTime(ProcessDied):
    """The process that worked on one sequence, or one stage in it, reached its time limit and was stopped."""


class OutOfMemory(ProcessDied):
    """The process that worked on one sequence held more memory than it may, and was killed.

    Parameters
    ----------
    peak_mb, limit_mb
        What it and the processes it started were seen to hold, and what they may.
    """

    def __init__(
        self,
        message: str,
        *,
        stage: str = "",
        signal_number: int | None = None,
        native_output: str = "",
        peak_mb: float = 0.0,
        limit_mb: float = 0.0,
    ) -> None:
        super().__init__(message, stage=stage, signal_number=signal_number, native_output=native_output)
        self.peak_mb = peak_mb
        self.limit_mb = limit_mb


class SequenceRejected(WalkaroundError):
    """A stage found that this capture cannot become a sequence.

    Parameters
    ----------
    reason
        A code of the table in :mod:`walkaround.quality.rules`.
    message
        What was seen, for a person.
    scores
        What was measured until then; kept in the record.
    """

    def __init__(self, reason: str, message: str, scores: dict[str, float] | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.scores = dict(scores or {})

    def __reduce__(self) -> tuple[type[SequenceRejected], tuple[str, str, dict[str, float]]]:
        return type(self), (self.reason, str(self), self.scores)
