"""Many sequences on one machine: a process each, waited for by a thread each."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from types import TracebackType

from walkaround.runners.shares import share_threads
from walkaround.runners.task import Finished, Job, StageProgress, Task, run_task
from walkaround.threads import usable_cores


class LocalRunner:
    """Runs tasks as they are submitted, at most ``workers`` at once. Use it as a context: leaving it early
    ends all children (SIGTERM, after three seconds SIGKILL)."""

    name = "local"

    def __init__(
        self,
        job: Job,
        *,
        workers: int,
        progress: StageProgress,
        run: Callable[..., Finished] = run_task,
    ) -> None:
        self.workers = workers
        self._job = job
        self._progress = progress
        self._run = run
        self._cancel = threading.Event()
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="build")
        self._running: dict[Future[Finished], Task] = {}

    def __enter__(self) -> LocalRunner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cancel.set()
        self._pool.shutdown(wait=True, cancel_futures=True)

    @property
    def room(self) -> int:
        """How many more tasks can start now."""
        return self.workers - len(self._running)

    @property
    def num_tasks(self) -> int:
        """How many tasks run."""
        return len(self._running)

    def threads(self, waiting: int) -> int:
        """Share the free cores out among the tasks that can start now."""
        chosen = self._job.build.threads
        in_use = sum(task.threads for task in self._running.values())
        return chosen or share_threads(usable_cores(), in_use=in_use, free_slots=self.room, waiting=waiting)

    def submit(self, task: Task) -> None:
        """Start a task."""
        future = self._pool.submit(self._run, self._job, task, progress=self._progress, cancel=self._cancel)
        self._running[future] = task

    def wait(self, timeout_s: float) -> list[Finished]:
        """Return the tasks that have finished; wait for one, but not for long."""
        done, _ = wait(self._running, timeout=timeout_s, return_when=FIRST_COMPLETED)
        for future in done:
            del self._running[future]
        return [future.result() for future in done]
