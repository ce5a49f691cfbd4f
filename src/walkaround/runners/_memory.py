"""How much memory a process and its descendants hold, read from /proc.

Counted is what the system must find room for: anonymous pages, shared memory and what was swapped out. Pages
of mapped files (libraries, models, Parquet) are the kernel's to drop and do not count, nor does address space
that is only reserved; so a limit neither breaks numba, OpenCV, CUDA or mmap, nor can they hide from it.
Where there is no /proc (macOS), nothing is measured.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

_COUNTED = (b"RssAnon:", b"RssShmem:", b"VmSwap:")
_LIMITED_EVERY_S = 0.1
_UNLIMITED_EVERY_S = 1.0


@dataclass
class MemoryWatch:
    """Looks at a process tree now and then, and keeps the highest sum.

    Parameters
    ----------
    pid
        The root of the tree.
    limit_mb
        What the tree may hold, in MB (10^6 bytes); None to measure only.
    """

    pid: int
    limit_mb: float | None
    peak_mb: float = 0.0
    _next_s: float = field(default=0.0)

    @property
    def every_s(self) -> float:
        """Seconds between two looks; each costs about a tenth of a millisecond."""
        return _UNLIMITED_EVERY_S if self.limit_mb is None else _LIMITED_EVERY_S

    def over_limit(self) -> bool:
        """Look, unless it is too early; return whether the tree holds more than it may."""
        now = time.monotonic()
        if now < self._next_s:
            return False
        self._next_s = now + self.every_s
        held_mb = sum(map(held_bytes, process_tree(self.pid))) / 1e6
        self.peak_mb = max(self.peak_mb, held_mb)
        return self.limit_mb is not None and held_mb > self.limit_mb


def held_bytes(pid: int) -> int:
    """Return the memory of one process (see the module); 0 when it has gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_bytes().splitlines()
    except OSError:
        return 0
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith(_COUNTED))


def process_tree(pid: int) -> list[int]:
    """Return ``pid`` and all its living descendants, parents first."""
    found = [pid]
    for parent in found:  # grows while it is read
        with suppress(OSError):
            for thread in Path(f"/proc/{parent}/task").iterdir():
                with suppress(OSError):
                    found += [int(child) for child in (thread / "children").read_bytes().split()]
    return found


def kill_descendants(pid: int) -> None:
    """Kill what a process started, the last generation first; the process itself stays."""
    for descendant in reversed(process_tree(pid)[1:]):
        with suppress(OSError):
            os.kill(descendant, signal.SIGKILL)
