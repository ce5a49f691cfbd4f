"""What a process printed last, and what its end means in plain words."""

from __future__ import annotations

import logging
import os
import re
import selectors
import signal
from typing import IO

from walkaround.errors import OutOfMemory, OutOfTime, ProcessDied
from walkaround.runners._memory import MemoryWatch
from walkaround.runners._plain import printable

logger = logging.getLogger("walkaround.native")

_KEPT_BYTES = 1 << 16
_SHOWN_LINES = 4
_SHOWN_CHARS = 240
_STACK_LINE = re.compile(r"\s*@ +(0x)?[0-9a-f]+\b|\*\*\* Check failure stack trace|\*\*\* Aborted at")
"""Of glog: a stack of native code comes after the words that count."""
_CONTINUES = "The same command continues after the last finished stage"
_ADVICE: dict[int, str] = {
    signal.SIGKILL: "It was killed from outside, perhaps because memory ran out: close other programs, or "
    f"lower --threads, --frames.long-side-px or --depth.max-size. {_CONTINUES}.",
    signal.SIGTERM: f"It was ended from outside. {_CONTINUES}.",
}
_CRASH_ADVICE = (
    f"{_CONTINUES}; if it ends there again, a library cannot cope with this input: please report it with "
    "these lines."
)


class LastWords:
    """The end of what a child wrote on stdout and stderr; complete lines also go to the debug log."""

    def __init__(self) -> None:
        self._tail = bytearray()
        self._line = b""

    def add(self, data: bytes) -> None:
        """Take a piece of output."""
        self._tail += data
        del self._tail[:-_KEPT_BYTES]
        if logger.isEnabledFor(logging.DEBUG):
            *lines, rest = (self._line + data).split(b"\n")
            self._line = rest[-_KEPT_BYTES:]
            for line in lines:
                logger.debug("%s", printable(line.decode(errors="replace")))

    def drain(self, pipe: IO[bytes]) -> None:
        """Take what still lies in the pipe, without waiting for more."""
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_READ)
            while selector.select(0) and (data := os.read(pipe.fileno(), 1 << 16)):
                self.add(data)

    @property
    def text(self) -> str:
        """All that is kept, safe to print."""
        return printable(self._tail.decode(errors="replace"))

    def lines(self) -> list[str]:
        """Return the last few lines that say something."""
        lines = [line.strip() for line in self.text.splitlines() if not _STACK_LINE.match(line)]
        return [line[:_SHOWN_CHARS] for line in lines if line][-_SHOWN_LINES:]


def death(code: int, stage: str, words: LastWords) -> ProcessDied:
    """Say what ended a process that left no result.

    Parameters
    ----------
    code
        The process's return code; ``-N`` for signal N.
    stage
        The last that progress was told of; empty when there was none.
    """
    number = -code if code < 0 else code - 128 if code == 128 + signal.SIGTERM else 0
    if number:
        what = f"died by {_signal_name(number)}"
    else:
        what = f"ended by itself with exit code {code} and without a result"
    advice = _ADVICE.get(number, _CRASH_ADVICE)
    message = f"The process of this build {what} {_where(stage)}.{_quoted(words)} {advice}"
    return ProcessDied(message, stage=stage, signal_number=number or None, native_output=words.text)


def out_of_time(limit_s: float, stage: str, words: LastWords) -> OutOfTime:
    """Say that a process was stopped at its time limit."""
    message = (
        f"The build reached its time limit of {limit_s:g} s {_where(stage)} and was stopped. {_CONTINUES}; "
        "give it more with --time-limit-s (0 for no limit), or less to do with --num-frames or "
        "--depth.max-size."
    )
    return OutOfTime(message, stage=stage, native_output=words.text)


def stage_out_of_time(limit_s: float, stage: str, words: LastWords) -> OutOfTime:
    """Say that a process was stopped because one stage reached its limit."""
    what = f"The stage {stage!r}" if stage else "What comes before the first stage"
    message = (
        f"{what} took longer than its time limit of {limit_s:g} s, and the build was stopped. {_CONTINUES}; "
        "give it more with --stage-time-limit-s (0 for no limit), or less to do with --num-frames or "
        f"--depth.max-size; if it hangs, please report it.{_quoted(words)}"
    )
    return OutOfTime(message, stage=stage, native_output=words.text)


def out_of_memory(memory: MemoryWatch, stage: str, words: LastWords) -> OutOfMemory:
    """Say that a process was killed at its memory limit."""
    message = (
        f"The build needed {memory.peak_mb:.0f} MB {_where(stage)}, more than its limit of "
        f"{memory.limit_mb:g} MB, and was killed. {_CONTINUES}; give it more with "
        "--memory-limit-mb (0 for no limit), or lower --threads, --frames.long-side-px or --depth.max-size."
    )
    return OutOfMemory(
        message,
        stage=stage,
        native_output=words.text,
        peak_mb=memory.peak_mb,
        limit_mb=memory.limit_mb or 0.0,
    )


def sent_nonsense(what: str, stage: str, words: LastWords) -> ProcessDied:
    """Say that a process was killed because nothing of ours speaks like that."""
    message = (
        f"The process of this build sent what is no event of a build {_where(stage)} "
        f"({printable(what)[:200]}) and was killed: a library in it is broken, or a "
        "hostile file took it over. Set the input aside."
        f"{_quoted(words)}"
    )
    return ProcessDied(message, stage=stage, native_output=words.text)


def _where(stage: str) -> str:
    return f"in the stage {stage!r}" if stage else "before its first stage"


def _quoted(words: LastWords) -> str:
    lines = words.lines()
    return " Its last words:\n  " + "\n  ".join(lines) + "\n" if lines else " It printed nothing."


def _signal_name(number: int) -> str:
    try:
        known = signal.Signals(number)
    except ValueError:
        return f"signal {number}"
    return f"{known.name} ({signal.strsignal(number)})"
