"""All scenes of a dataset audited, in processes that may crash on a broken file without harm to the rest."""

from __future__ import annotations

import json
import logging
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from walkaround.dataset.audit import AuditOptions, Finding, write_findings
from walkaround.dataset.audit.finding import FINDINGS_NAME, finding_from_dict, finding_to_dict, make_finding
from walkaround.dataset.audit.scene import audit_scenes
from walkaround.dataset.audit.summary import Summary
from walkaround.dataset.readers import Dataset, Scene
from walkaround.errors import FormatError, ProcessDied
from walkaround.runners.isolate import IsolatedCall
from walkaround.threads import usable_cores
from walkaround.types import Progress, no_progress

logger = logging.getLogger(__name__)

MAX_SCENES = 128
"""Scenes that a process is started for: starting costs about half a second."""
SCENE_TIME_LIMIT_S = 300.0
MEMORY_LIMIT_MB = 4000.0
Audited = tuple[int, list[Finding]]
"""Number of images, and the findings."""


def audit_dataset(
    dataset: Dataset,
    *,
    options: AuditOptions | None = None,
    workers: int = 0,
    out: Path | None = None,
    progress: Progress = no_progress,
    take: Callable[[Finding], None] | None = None,
) -> Summary:
    """Look at every scene; write ``findings.parquet``.

    Memory does not grow with the number of scenes: findings wait in a file.

    Parameters
    ----------
    workers
        Processes at once; 0 is one a core.
    out
        Folder for ``findings.parquet``; None writes nothing.
    take
        Called with every finding, in the order in which scenes are done.

    Raises
    ------
    OutputError
        ``out`` cannot be written.
    """
    options = options or AuditOptions()
    summary = Summary()
    with tempfile.TemporaryFile("w+", encoding="utf-8") as waiting:
        for num_images, findings in _audited(dataset, options, workers or usable_cores()):
            summary.add(num_images, findings)
            for finding in findings:
                waiting.write(json.dumps(finding_to_dict(finding)) + "\n")
                if take is not None:
                    take(finding)
            progress(summary.num_scenes / max(len(dataset), 1))
        if out is not None:
            waiting.seek(0)
            write_findings(out / FINDINGS_NAME, (finding_from_dict(json.loads(line)) for line in waiting))
    return summary


def _audited(dataset: Dataset, options: AuditOptions, workers: int) -> Iterator[Audited]:
    """Yield what was found in each scene, as processes finish."""
    size = max(1, min(MAX_SCENES, -(-len(dataset) // (2 * workers))))
    starts = iter(range(0, len(dataset), size))
    cancel = threading.Event()
    running: set[Future[list[Audited]]] = set()
    with ThreadPoolExecutor(workers, thread_name_prefix="audit") as pool:
        try:
            while True:
                while len(running) < workers + 1 and (start := next(starts, None)) is not None:
                    running.add(pool.submit(_audit_some, dataset[start : start + size], options, cancel))
                if not running:
                    return
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    yield from future.result()
        finally:
            cancel.set()
            pool.shutdown(wait=True, cancel_futures=True)


def _audit_some(dataset: Dataset, options: AuditOptions, cancel: threading.Event) -> list[Audited]:
    """Audit a few scenes in a process; one that it dies of is set aside, and the rest done again."""
    done: list[Audited] = []
    scenes: list[Scene] = []
    for number in range(len(dataset)):
        try:
            scenes.append(dataset[number])
        except FormatError as error:
            done.append((0, [make_finding(_key(dataset, number), "broken_record", (), str(error))]))
    while scenes:
        before = ""

        def note(scene: str, share: float) -> None:
            nonlocal before
            before = scene

        try:
            return [*done, *_in_process(scenes, options, note, cancel)]
        except ProcessDied as death:
            blamed = next((scene for scene in scenes if scene.key == before), scenes[0])
            logger.warning("%s: the process that looked at it died", blamed.key)
            said = " ".join(str(death).split())
            done.append((0, [make_finding((blamed.class_label, blamed.instance_id), "crashed", (), said)]))
            scenes.remove(blamed)
    return done


def _key(dataset: Dataset, number: int) -> tuple[str, str]:
    label, _, instance_id = dataset[number : number + 1].keys()[0].rpartition("/")
    return label, instance_id


def _in_process(
    scenes: list[Scene],
    options: AuditOptions,
    note: Callable[[str, float], None],
    cancel: threading.Event,
) -> Iterator[Audited]:
    call: IsolatedCall[list[dict[str, Any]]] = IsolatedCall(
        audit_scenes,
        (scenes, options),
        stage_timeout_s=SCENE_TIME_LIMIT_S,
        memory_limit_mb=MEMORY_LIMIT_MB,
    )
    with call:
        try:
            rows = call.wait(note, cancel=cancel)
        except CancelledError:
            return iter(())
    return iter([(row["num_images"], [finding_from_dict(f) for f in row["findings"]]) for row in rows])
