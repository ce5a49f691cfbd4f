"""How a batch is run, and what a runner is."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal, Protocol

from walkaround.errors import UsageError
from walkaround.runners.task import Finished, Task


@dataclass(frozen=True, kw_only=True)
class BatchOptions:
    """How a batch is run; nothing here changes what comes out."""

    runner: Literal["local", "ray"] = "local"
    """``local``: processes of this machine. ``ray``: tasks of a Ray cluster, or of a Ray started here."""
    workers: int = 0
    """Sequences at once; 0 means one a core while memory lasts (local), or as many as fit (ray)."""
    retries: int = 1
    """How often a capture is tried again after its process died, before it is set aside."""
    retry_failed: bool = False
    """Try again what earlier runs have set aside."""
    time_limit_s: float = 0.0
    """Stop a sequence that takes longer; 0 means no limit."""
    stage_time_limit_s: float = 0.0
    """Stop a sequence one of whose stages takes longer; 0 means no limit."""
    memory_limit_mb: float = 0.0
    """Stop a sequence that holds more memory; 0 means no limit."""
    ray_address: str | None = None
    """Address of a Ray cluster, for example ``auto`` or ``HOST:6379``; None starts one here."""
    gpu_share: float = 1.0
    """What a stage on the GPU reserves of one (ray); 0.25 lets four sequences share it."""


_LOWEST = {
    "workers": 0,
    "retries": 0,
    "time_limit_s": 0,
    "stage_time_limit_s": 0,
    "memory_limit_mb": 0,
    "gpu_share": 0.001,
}


def check_batch_options(options: BatchOptions) -> None:
    """Check the options before any work starts.

    Raises
    ------
    UsageError
        A value is out of range, or an option belongs to another runner.
    """
    values = dataclasses.asdict(options)
    for name, low in _LOWEST.items():
        if not values[name] >= low:
            option = "--" + name.replace("_", "-")
            raise UsageError(f"{option} {values[name]} is out of range: at least {low}.")
    if options.ray_address is not None and options.runner != "ray":
        raise UsageError("--ray-address needs --runner ray.")


class Runner(Protocol):
    """Something that runs tasks. Leaving it as a context ends what still runs."""

    @property
    def workers(self) -> int:
        """How many tasks can run at once, as far as is known."""

    @property
    def room(self) -> int:
        """How many more tasks it takes now; bounded, so that a long batch does not pile up in it."""

    @property
    def num_tasks(self) -> int:
        """How many tasks it holds."""

    def threads(self, waiting: int) -> int:
        """Return the threads of a task that starts now; ``waiting`` tasks (it included) have not started."""

    def submit(self, task: Task) -> None:
        """Take a task."""

    def wait(self, timeout_s: float) -> list[Finished]:
        """Return what has finished, after at most so many seconds."""
