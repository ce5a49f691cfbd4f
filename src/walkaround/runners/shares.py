"""How many sequences at once, and how many threads for each."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from walkaround.threads import usable_cores

SEQUENCE_MB = 1500
"""What a build may need: one of 1080p video takes about 1.2 GB."""


def default_workers() -> int:
    """Return as many workers as there are cores, fewer when memory would not do.

    One thread a sequence uses the cores best: the stages scale to about 1.6 with two threads
    (docs/scale.md), two sequences side by side to nearly 2.
    """
    memory_mb = available_memory_mb()
    fitting = usable_cores() if memory_mb is None else int(memory_mb // SEQUENCE_MB)
    return max(1, min(usable_cores(), fitting))


def share_threads(cores: int, *, in_use: int, free_slots: int, waiting: int) -> int:
    """Return the threads of a sequence that starts now; a running one cannot change its number.

    The free cores are shared out among those that can start now: one each while many wait, more for the last
    ones, so that cores are neither idle nor over-subscribed.

    Parameters
    ----------
    cores
        All that may be used.
    in_use
        Threads of the sequences that run.
    free_slots
        Workers without a sequence, at least 1.
    waiting
        Sequences that have not started, this one included.
    """
    starters = max(1, min(free_slots, waiting))
    return max(1, (cores - in_use) // starters)


def available_memory_mb() -> float | None:
    """Return the memory that is free for builds, within a container's limit; None where nobody tells."""
    found = [value for value in (_system_mb(), _container_mb()) if value is not None]
    return min(found, default=None)


def _system_mb() -> float | None:
    with suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024 / 1e6
    return None


def _container_mb() -> float | None:
    folder = Path("/sys/fs/cgroup")
    with suppress(OSError, ValueError):
        limit, used = (folder / name for name in ("memory.max", "memory.current"))
        return (int(limit.read_text()) - int(used.read_text())) / 1e6
    return None
