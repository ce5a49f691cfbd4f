"""``prepare -> train -> evaluate -> table``: the jobs of a study, one after the other, each only once."""

from __future__ import annotations

import json
import logging
import platform
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from walkaround.errors import FormatError, OutputError, UsageError
from walkaround.io.atomic import output_error, write_bytes, write_json
from walkaround.io.locks import locked
from walkaround.studies.frame.plot import as_page, as_svg
from walkaround.studies.frame.recipe import Recipe, plain
from walkaround.studies.frame.seeds import pick_device
from walkaround.studies.frame.study import Job, Study
from walkaround.studies.frame.table import Results, as_json, as_text

logger = logging.getLogger(__name__)

STEPS = ("prepare", "train", "evaluate", "table")
_RECIPE, _RESULT, _TRAINED = "recipe.json", "result.json", "trained.json"

StudyProgress = Callable[[str, float], None]
"""Called with a step (``prepare``, ``<arm> <seed>``) and its share done."""


def no_study_progress(what: str, share: float) -> None:
    """Ignore progress."""


def run_study(
    study: Study,
    recipe: Recipe,
    out: Path,
    *,
    until: str = "table",
    overwrite: bool = False,
    progress: StudyProgress = no_study_progress,
) -> Results:
    """Run what is missing of a study in ``out`` and write its table.

    ``out`` gets ``recipe.json``, ``data/``, ``jobs/<arm>/<seed>/`` and at the end ``results.json``,
    ``table.txt``, ``plot.svg`` and ``report.html``. Called again, finished jobs are kept and a training that
    was cut off goes on. More seeds add jobs.

    Parameters
    ----------
    until
        The last step to do, one of :data:`STEPS`. The table is written of whatever was measured before.
    overwrite
        Remove what another recipe left in ``out``.

    Raises
    ------
    UsageError
        The recipe makes no sense, or ``out`` was made with another one.
    OutputError
        ``out`` cannot be written, or another process runs a study there.
    """
    recipe.check()
    if until not in STEPS:
        raise UsageError(f"--until is {until!r:.40}; give one of {', '.join(STEPS)}.")
    device = "cpu" if until == "prepare" else pick_device(recipe.device)
    message = f"Another walkaround runs a study in {out}. Wait until it ends, or stop it."
    with locked(out / ".study.lock", wait=False, message=message):
        _claim_folder(study, recipe, out, overwrite=overwrite)
        study.prepare(recipe, _made(out / "data"), lambda share: progress("prepare", share))
        if until != "prepare":
            _set_threads(recipe)
            for job in _jobs(study, recipe, out, device, progress):
                _run_job(study, recipe, job, evaluate=until != "train")
        results = _gather(study, recipe, out)
        if until == "table":
            _write_table(results, out)
    return results


def _claim_folder(study: Study, recipe: Recipe, out: Path, *, overwrite: bool) -> None:
    """Refuse, or empty, a folder of another recipe; then note ours."""
    path = out / _RECIPE
    wanted = {"study": study.name, **plain(recipe, free=False)}
    if path.is_file():
        try:
            old = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            old = {}
        if not isinstance(old, dict) or "study" not in old:
            raise UsageError(f"{path} is not a study's. Choose another folder, or remove it.")
        differing = [
            f"{name} {old.get(name)!r}, not {wanted.get(name)!r}"
            for name in {**wanted, **old}
            if old.get(name) != wanted.get(name)
        ]
        if not differing and not overwrite:
            return
        if not overwrite and _holds_files(out):
            said = "; ".join(differing)
            raise UsageError(f"{out} holds a study made with {said}. Choose another folder, or --overwrite.")
    elif _holds_files(out):  # not ours, so never removed
        raise UsageError(f"{out} holds jobs or data but no {_RECIPE} of a study. Choose another folder.")
    try:
        for name in ("jobs", "data"):
            if (out / name).exists():
                shutil.rmtree(out / name)
    except OSError as error:
        raise output_error(out, error) from error
    write_json(path, wanted)


def _holds_files(out: Path) -> bool:
    """Return whether a study got as far as keeping anything: one that failed before may be changed."""
    return any(path.is_file() for name in ("jobs", "data") for path in (out / name).rglob("*"))


def _jobs(study: Study, recipe: Recipe, out: Path, device: str, progress: StudyProgress) -> list[Job]:
    jobs = []
    for seed in recipe.seeds:  # a table of one seed is there early
        for arm in study.arms(recipe):
            name = f"{arm} {seed}"
            jobs.append(
                Job(
                    arm=arm,
                    seed=seed,
                    data_dir=out / "data",
                    folder=_made(out / "jobs" / arm / str(seed)),
                    device=device,
                    checkpoint_every=recipe.checkpoint_every,
                    progress=lambda share, name=name: progress(name, share),  # type: ignore[misc]
                )
            )
    return jobs


def _run_job(study: Study, recipe: Recipe, job: Job, *, evaluate: bool) -> None:
    if (job.folder / _RESULT).is_file():
        job.progress(1.0)
        return
    if not (job.folder / _TRAINED).is_file():
        wall, cpu = time.perf_counter(), time.process_time()
        study.train(recipe, job)
        spent = {
            "train_s": round(time.perf_counter() - wall, 3),  # of the last part, when it was cut off
            "train_cpu_s": round(time.process_time() - cpu, 3),
            "device": _device_name(job.device),
            "versions": _versions(),
        }
        write_json(job.folder / _TRAINED, spent)
    if not evaluate:
        return
    metrics = {name: float(value) for name, value in study.evaluate(recipe, job).items()}
    missing = [metric.name for metric in study.metrics if metric.name not in metrics]
    if missing:
        raise OutputError(f"study {study.name}: evaluate returned no {', '.join(missing)} for {job.arm}.")
    spent = _read(job.folder / _TRAINED)
    write_json(job.folder / _RESULT, {"arm": job.arm, "seed": job.seed, "metrics": metrics, **spent})
    job.checkpoint_path.unlink(missing_ok=True)
    logger.info("%s, seed %d: %s", job.arm, job.seed, _in_short(metrics, study))


def _in_short(metrics: dict[str, float], study: Study) -> str:
    return ", ".join(f"{metric.name} {metrics[metric.name]:.4f}" for metric in study.metrics)


def _gather(study: Study, recipe: Recipe, out: Path) -> Results:
    arms = study.arms(recipe)
    paths = [out / "jobs" / arm / str(seed) / _RESULT for arm in arms for seed in recipe.seeds]
    return Results(
        study=study.name,
        text=study.text,
        metrics=study.metrics,
        claims=study.claims,
        arms=arms,
        recipe=plain(recipe),
        rows=tuple(_read(path) for path in paths if path.is_file()),
    )


def _write_table(results: Results, out: Path) -> None:
    write_json(out / "results.json", as_json(results))
    write_bytes(out / "table.txt", as_text(results).encode())
    write_bytes(out / "plot.svg", as_svg(results).encode())
    write_bytes(out / "report.html", as_page(results).encode())


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FormatError(f"{path} cannot be read ({error}). Remove it and run again.") from error
    if not isinstance(value, dict):
        raise FormatError(f"{path} is no JSON object. Remove it and run again.")
    return value


def _set_threads(recipe: Recipe) -> None:
    import torch

    from walkaround.threads import usable_cores

    torch.set_num_threads(recipe.threads or usable_cores())


def _device_name(device: str) -> str:
    if device == "cpu":
        return f"cpu ({platform.machine()})"
    import torch

    return f"{device} ({torch.cuda.get_device_name(device)})"


def _versions() -> dict[str, str]:
    import numpy
    import torch

    from walkaround import __version__

    return {
        "walkaround": __version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": numpy.__version__,
    }


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(folder, error) from error
    return folder
