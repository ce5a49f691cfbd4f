"""Many scenes repaired, a process each: a scene that crashes a library is set aside, and the others go on."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from walkaround.dataset.readers import Dataset, Scene
from walkaround.errors import FormatError, OutputError, ProcessDied
from walkaround.repair import RepairOptions, repair_scene
from walkaround.runners.isolate import IsolatedCall
from walkaround.runners.shares import default_workers


@dataclass(frozen=True, kw_only=True)
class Repaired:
    """What came of one scene."""

    key: str
    status: str
    """``repaired``, ``partly``, ``failed`` or ``clean``."""
    codes: tuple[str, ...] = ()
    """What was wrong with it."""
    actions: tuple[str, ...] = ()
    """What was done."""
    message: str = ""
    """Why it failed, or what is left."""
    passed_over: bool = False
    """An earlier call did it."""
    scores: dict[str, float] = field(default_factory=dict)


def repair_scenes(
    dataset: Dataset,
    keys: Iterable[str],
    overlay: Path,
    *,
    options: RepairOptions | None = None,
    workers: int = 0,
    again: bool = False,
    time_limit_s: float | None = 3600.0,
    memory_limit_mb: float | None = None,
) -> Iterator[Repaired]:
    """Repair scenes of a dataset that was opened without an overlay; yield each outcome when it is there.

    Parameters
    ----------
    workers
        Scenes at once; 0 is one a core, fewer when memory would not do.
    again
        Repair what was done before, too.

    Raises
    ------
    OutputError
        The overlay cannot be written.
    """
    options = options or RepairOptions()
    cancel = threading.Event()
    limits = {"timeout_s": time_limit_s, "memory_limit_mb": memory_limit_mb}
    workers = workers or default_workers()
    waiting = iter(keys)
    running: set[Future[Repaired]] = set()
    with ThreadPoolExecutor(workers, thread_name_prefix="repair") as pool:
        try:
            while True:
                for key in islice(waiting, workers - len(running)):
                    call = (dataset, key, overlay, options, again, limits, cancel)
                    running.add(pool.submit(_repair_one, *call))
                if not running:
                    return
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        finally:
            cancel.set()
            pool.shutdown(wait=True, cancel_futures=True)


def _repair_one(
    dataset: Dataset,
    key: str,
    overlay: Path,
    options: RepairOptions,
    again: bool,
    limits: dict[str, Any],
    cancel: threading.Event,
) -> Repaired:
    try:
        scene: Scene = dataset[key]
        folder = overlay / scene.class_label / scene.instance_id
        arguments = (scene, folder, options)
        with IsolatedCall(repair_scene, arguments, {"again": again}, **limits) as call:
            return _outcome(key, call.wait(_ignore, cancel=cancel))
    except OutputError:
        raise
    except (ProcessDied, FormatError, KeyError, CancelledError, RuntimeError) as error:
        said = str(error.args[0] if error.args else error).splitlines()
        return Repaired(key=key, status="failed", message=said[0] if said else type(error).__name__)


def _ignore(stage: str, share: float) -> None:
    """The number of scenes done is progress enough."""


def _outcome(key: str, value: dict[str, Any]) -> Repaired:
    remaining = value.get("remaining") or {}
    left = "; ".join(f"{code}: {said}" for code, said in remaining.items())
    return Repaired(
        key=key,
        status=value["status"],
        codes=tuple(value.get("codes", ())),
        actions=tuple(value.get("actions", ())),
        message=value.get("message") or left,
        passed_over=bool(value.get("passed_over")),
        scores=value.get("scores") or {},
    )
