"""Many sequences as Ray tasks: on a Ray that is started here, or on a cluster.

A task is what a thread of the local runner does (:func:`walkaround.runners.task.run_task`): the build's own
process on the node, its limits, its outcome as a value. Ray places the tasks by the resources they ask for,
and runs one again when its worker or its node is lost. A sequence is one task, or a chain of tasks where a
stage needs a GPU: what comes before it, the stage itself, the rest. Each continues by the stage records, as a
build that was cut off does, so ROOT must lie on a file system that all nodes share.

No more tasks are handed to Ray than can run at once and a few; results are taken as they come.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from walkaround.errors import UsageError
from walkaround.pipeline import BuildOptions
from walkaround.runners.options import BatchOptions
from walkaround.runners.shares import SEQUENCE_MB
from walkaround.runners.task import Death, Finished, Job, StageProgress, Task, run_task
from walkaround.threads import usable_cores

logger = logging.getLogger(__name__)

_SYSTEM_RETRIES = 3
"""How often Ray runs a task again whose worker or node was lost, before it counts as a death."""
_LOOK_EVERY_S = 5.0
"""How often the cluster's size is looked at: nodes come and go."""
_DRAIN_EVERY_S = 1.0
_KNOCK_S = 10.0


class RayRunner:
    """Runs tasks on Ray. Use it as a context: leaving it cancels what runs, and ends a Ray it started.

    Raises
    ------
    UsageError
        Ray is not installed, or the cluster cannot be reached.
    """

    def __init__(self, job: Job, *, options: BatchOptions, progress: StageProgress) -> None:
        self._ray = _ray()
        self._limit = options.workers
        self._gpu_share = options.gpu_share
        self._threads = job.build.threads or 1
        self._memory_mb = options.memory_limit_mb or SEQUENCE_MB
        self._progress = progress
        self._tasks: dict[Any, Task] = {}
        self._slots = 0
        self._looked = self._drained = -1e9
        self._job = _with_parts(job)
        with _own_sigterm():
            self._owned = _connect(
                self._ray, options.ray_address, threads=self._threads, workers=options.workers
            )
        try:
            self._check_resources()
        except BaseException:
            self._ray.shutdown()
            raise

    def __enter__(self) -> RayRunner:
        ray = self._ray
        try:
            self._job_ref = ray.put(self._job)
            self._stages = ray.remote(num_cpus=0)(StageBoard).remote()
            self._build = ray.remote(max_retries=_SYSTEM_RETRIES)(_build)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for ref in self._tasks:
            self._ray.cancel(ref, force=False)
        if self._tasks and not self._owned:  # let the workers stop their children
            self._ray.wait(list(self._tasks), num_returns=len(self._tasks), timeout=10.0)
        self._ray.shutdown()

    def _check_resources(self) -> None:
        """Ask for no more than there is: Ray would wait for ever.

        Raises
        ------
        UsageError
            A stage wants a GPU, and the Ray that was started here has none.
        """
        total = self._ray.cluster_resources()
        needs_gpu = bool(_gpu_stages(self._job.build))
        if self._owned:
            self._memory_mb = min(self._memory_mb, total.get("memory", 0.0) / 1e6)
            if needs_gpu and not total.get("GPU"):
                raise UsageError("--depth.backend colmap_cuda needs a GPU, and Ray finds none here.")
            return
        wanted = {"CPU": self._threads, "memory": self._memory_mb * 1e6, "GPU": self._gpu_share * needs_gpu}
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        if not any(all(node.get(name, 0.0) >= least for name, least in wanted.items()) for node in nodes):
            logger.warning(
                "No node of the Ray cluster has %d CPUs, %.0f MB of memory%s: the batch waits for one.",
                self._threads,
                self._memory_mb,
                f" and {self._gpu_share:g} GPU" if needs_gpu else "",
            )

    @property
    def workers(self) -> int:
        """How many sequences the cluster can run at once now."""
        now = time.monotonic()
        if now - self._looked >= _LOOK_EVERY_S:
            self._looked = now
            total = self._ray.cluster_resources()
            by_cpu = total.get("CPU", 0.0) / self._threads
            by_memory = total.get("memory", 0.0) / (self._memory_mb * 1e6)
            self._slots = max(1, int(min(by_cpu, by_memory)))
        return min(self._slots, self._limit) if self._limit else self._slots

    @property
    def room(self) -> int:
        """What fits, and a few more, so that a worker finds its next task waiting."""
        workers = self.workers
        ahead = 0 if self._limit == workers else max(2, workers // 8)
        return workers + ahead - len(self._tasks)

    @property
    def num_tasks(self) -> int:
        """How many tasks Ray holds."""
        return len(self._tasks)

    def threads(self, waiting: int) -> int:
        """Return the same number for every task: Ray cannot tell which cores will be idle."""
        return self._threads

    def submit(self, task: Task) -> None:
        """Hand a task to Ray with what it needs."""
        resources: dict[str, Any] = {"num_cpus": task.threads, "memory": int(self._memory_mb * 1e6)}
        if self._job.parts[task.part] in _gpu_stages(self._job.build):
            resources["num_gpus"] = self._gpu_share
        ref = self._build.options(**resources, name=f"walkaround {task.entry.class_label}").remote(
            self._job_ref, task, self._stages
        )
        self._tasks[ref] = task

    def wait(self, timeout_s: float) -> list[Finished]:
        """Return the tasks that have finished, after at most so many seconds."""
        done, _ = self._ray.wait(list(self._tasks), num_returns=1, timeout=timeout_s)
        if done:  # more may be there already
            done, _ = self._ray.wait(list(self._tasks), num_returns=len(self._tasks), timeout=0)
        self._drain()
        return [self._finished(ref) for ref in done]

    def _finished(self, ref: Any) -> Finished:
        task = self._tasks.pop(ref)
        try:
            finished: Finished = self._ray.get(ref)
        except self._ray.exceptions.RayError as error:
            what = type(error).__name__
            return Finished(task=task, death=Death(what=what, stage="", log=str(error)))
        return finished

    def _drain(self) -> None:
        """Take over what the tasks have said about their stages; losing it does no harm."""
        now = time.monotonic()
        if now - self._drained < _DRAIN_EVERY_S:
            return
        self._drained = now
        try:
            said = self._ray.get(self._stages.drain.remote(), timeout=_DRAIN_EVERY_S)
        except self._ray.exceptions.RayError:
            return
        for key, (stage, share) in said.items():
            self._progress(key, stage, share)


class StageBoard:
    """An actor: what the tasks say about their stages, until somebody asks."""

    def __init__(self) -> None:
        self._said: dict[str, tuple[str, float]] = {}

    def say(self, key: str, stage: str, share: float) -> None:
        """Keep the last word of a task."""
        self._said[key] = (stage, share)

    def drain(self) -> dict[str, tuple[str, float]]:
        """Return what is new."""
        said, self._said = self._said, {}
        return said


def _build(job: Job, task: Task, stages: Any) -> Finished:
    """Run on a node of the cluster."""
    last: tuple[str, float] = ("", 0.0)

    def progress(key: str, stage: str, share: float) -> None:
        nonlocal last
        if stage != last[0] or share - last[1] >= 0.25:
            last = (stage, share)
            stages.say.remote(key, stage, share)

    return run_task(job, task, progress=progress)


def _gpu_stages(build: BuildOptions) -> tuple[str, ...]:
    """Return the stages that the options send to a GPU; ``auto`` does not: Ray hides GPUs not asked for."""
    return ("depth",) if build.depth.backend == "colmap_cuda" else ()


def _with_parts(job: Job) -> Job:
    """Cut a sequence where the machine that it needs changes."""
    parts = ("cameras", "depth", None) if _gpu_stages(job.build) else (None,)
    return dataclasses.replace(job, root=job.root.absolute(), parts=parts)


def _ray() -> Any:
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "1")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise UsageError(
            "--runner ray needs Ray: pip install 'walkaround[ray]', or leave --runner out."
        ) from error
    return ray


@contextmanager
def _own_sigterm() -> Iterator[None]:
    """Put back what SIGTERM did: Ray installs a handler that prints a stack and exits."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


def _connect(ray: Any, address: str | None, *, threads: int, workers: int) -> bool:
    """Join the cluster at ``address``, or start a Ray of this machine; return whether it is ours to end.

    Raises
    ------
    UsageError
        There is no cluster at that address.
    """
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR, "include_dashboard": False}
    address = address or os.environ.get("RAY_ADDRESS") or None
    if address is None:
        ray.init("local", **quiet, num_cpus=_local_cpus(threads, workers))
        return True
    del quiet["include_dashboard"]
    try:
        _knock(address)
        ray.init(address=address, **quiet)
    except (OSError, ValueError, RuntimeError) as error:
        raise UsageError(
            f"There is no Ray cluster at --ray-address {address} ({error}). Start one with "
            "`ray start --head`, or leave the option out to start a Ray of this machine."
        ) from error
    return False


def _knock(address: str) -> None:
    """Raise OSError when nobody listens at ``HOST:PORT``: Ray itself tries for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host, int(port)), timeout=_KNOCK_S).close()


def _local_cpus(threads: int, workers: int) -> int:
    return max(usable_cores(), threads * workers)
