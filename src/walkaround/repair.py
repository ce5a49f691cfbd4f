"""Repair one scene: run just the stages that its faults need, and write their outputs beside the download.

Like :mod:`walkaround.pipeline` this module knows the order of the stages; it starts from what a scene has.
The download is never touched: what is made goes into the scene's folder of an overlay
(:mod:`walkaround.dataset.readers.overlay`), whole parts at a time, ``repair.json`` last.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from walkaround import __version__
from walkaround.cameras.options import CamerasOptions
from walkaround.cloud.options import CloudOptions
from walkaround.dataset.audit import AuditOptions, Finding, audit_scene
from walkaround.dataset.readers import Scene
from walkaround.dataset.readers.overlay import REPAIR_NAME, REPAIR_VERSION, read_repair, with_repairs
from walkaround.dataset.readers.scene import SPARSE
from walkaround.depth.options import DepthOptions
from walkaround.errors import FormatError, SequenceRejected
from walkaround.io.atomic import output_error, write_json
from walkaround.masks.options import MasksOptions
from walkaround.quality.rules import RULES_BY_CODE, judge
from walkaround.repair_files import mend_sparse, write_masks_part
from walkaround.threads import library_threads, usable_cores
from walkaround.types import Frame, SparseModel

logger = logging.getLogger(__name__)

RECIPE = 1
"""Raise it when repairs come out differently; scenes are then repaired again."""
LEFT_OUT = ("unreadable_image", "cut_off_image")
_PARTS = ("images", "masks", "sparse/0", "depth", "confidence")

RepairProgress = Callable[[str, float], None]


@dataclass(frozen=True, kw_only=True)
class RepairOptions:
    """What can be chosen about a repair."""

    only: tuple[str, ...] = ()
    """Codes to repair; empty for all."""
    expect_masks: bool = True
    """Whether a scene without any mask gets masks."""
    seed: int = 0
    """Seed of everything random."""
    threads: int = 1
    """Threads for a scene; 0 means all cores."""
    cameras: CamerasOptions = field(default_factory=CamerasOptions)
    depth: DepthOptions = field(default_factory=DepthOptions)
    masks: MasksOptions = field(default_factory=MasksOptions)
    cloud: CloudOptions = field(default_factory=CloudOptions)


def repair_scene(
    scene: Scene, folder: Path, options: RepairOptions, *, again: bool = False, progress: RepairProgress
) -> dict[str, Any]:
    """Repair a scene as far as that is possible; return what ``repair.json`` then holds.

    Parameters
    ----------
    scene
        As downloaded, without any overlay. It is audited first.
    folder
        Its folder of the overlay.
    again
        Repair it though it was done before.

    Returns
    -------
    dict
        ``status``: ``repaired``, ``partly`` (``remaining`` says what is left), ``failed`` (``message`` says
        why) or ``clean`` (nothing to do, nothing written); ``passed_over`` is true when it was done before.

    Raises
    ------
    OutputError
        The overlay cannot be written.
    """
    stamp = fingerprint(scene, options)
    before = None if again else _done_before(folder, stamp)
    if before is not None:
        return {**before, "passed_over": True}
    progress("audit", 0.0)
    findings = _wanted(audit_scene(scene, _audit_options(options)), options)
    if not any(finding.severity != "note" for finding in findings):
        return {"status": "clean", "codes": []}
    start = time.monotonic()
    record = {
        "schema_version": REPAIR_VERSION,
        "parts": [],
        "left_out": [],
        "codes": sorted({finding.code for finding in findings}),
        "fingerprint": stamp,
        "versions": {"walkaround": __version__},
    }
    work = folder.parent.parent / ".work" / f"{scene.class_label}-{scene.instance_id}"
    try:
        shutil.rmtree(work, ignore_errors=True)
        with library_threads(options.threads or usable_cores()):
            record |= _Repair(scene, work, options, findings, progress).run()
        _put_in_place(work / "out", folder, record)
        record |= _verdict(scene, folder, options)
    except (SequenceRejected, FormatError) as error:
        reason = error.reason if isinstance(error, SequenceRejected) else "broken"
        record |= {"status": "failed", "reason": reason, "message": str(error), "parts": [], "left_out": []}
    except OSError as error:
        raise output_error(folder, error) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    record["seconds"] = round(time.monotonic() - start, 2)
    write_json(folder / REPAIR_NAME, record)
    return record


def fingerprint(scene: Scene, options: RepairOptions) -> str:
    """Return a hash over the names and sizes of a scene's files, the options, and the recipe."""
    digest = hashlib.sha256(f"{RECIPE} {dataclasses.asdict(options) | {'threads': 0}}".encode())
    for part in _PARTS:
        for name in scene.files.names(part):
            path = f"{part}/{name}"
            digest.update(f"{path}\0{scene.files.size(path)}\0".encode(errors="surrogateescape"))
    return digest.hexdigest()


def _done_before(folder: Path, stamp: str) -> dict[str, Any] | None:
    try:
        value = read_repair(folder)
    except FormatError:
        return None
    return value if value is not None and value.get("fingerprint") == stamp else None


def _audit_options(options: RepairOptions) -> AuditOptions:
    return AuditOptions(decode=True, expect_masks=options.expect_masks)


def _wanted(findings: list[Finding], options: RepairOptions) -> list[Finding]:
    return [finding for finding in findings if not options.only or finding.code in options.only]


def _verdict(scene: Scene, folder: Path, options: RepairOptions) -> dict[str, Any]:
    """Audit the scene with its repairs laid over."""
    files, parts = with_repairs(scene.files, folder)
    repaired = Scene(
        class_label=scene.class_label, instance_id=scene.instance_id, files=files, repaired=parts
    )
    left = _wanted(audit_scene(repaired, _audit_options(options)), options)
    remaining = {finding.code: finding.value for finding in left if finding.severity != "note"}
    return {"status": "partly" if remaining else "repaired", "remaining": remaining}


def _put_in_place(made: Path, folder: Path, record: dict[str, Any]) -> None:
    """Move parts into the overlay; without ``repair.json``, the last file, readers see none of them."""
    (folder / REPAIR_NAME).unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        shutil.rmtree(old) if old.is_dir() else old.unlink()
    for part in record["parts"]:
        (made / part).replace(folder / part)
    write_json(folder / REPAIR_NAME, record)


class _Repair:
    """One scene's repair in a scratch folder: ``images``, ``depth`` to work with, ``out`` for what stays."""

    def __init__(
        self,
        scene: Scene,
        work: Path,
        options: RepairOptions,
        findings: list[Finding],
        progress: RepairProgress,
    ) -> None:
        self.scene, self.work, self.options, self.progress = scene, work, options, progress
        self.findings = findings
        self.left_out = [path for f in findings if f.code in LEFT_OUT for path in f.files]
        hidden = {path.partition("/")[2] for path in self.left_out}
        whole = [name for name in scene.image_names if name not in hidden]
        self.frames = tuple(
            Frame(index=number, image=name, source_index=number - 1, timestamp_s=None)
            for number, name in enumerate(whole, start=1)
        )
        self.actions = {finding.repair for finding in findings} - {""}
        self.scores: dict[str, float] = {}
        self.parts: list[str] = []
        self.taken: list[str] = []
        self._has_images = False

    def run(self) -> dict[str, Any]:
        """Take the actions in their order; return what goes into the record."""
        if not self.actions:
            listed = ", ".join(sorted({finding.code for finding in self.findings}))
            raise SequenceRejected("not_repairable", f"Nothing can be done about {listed}.")
        ours = self.scene.record is not None
        if "cameras" in self.actions:
            self._estimate_cameras()
            if ours and self.scene.files.names("depth"):
                self.actions |= {"depth", *(["cloud"] if self.scene.files.size("cloud.ply") else [])}
        elif "mend" in self.actions:
            self._mend()
        if "masks" in self.actions:
            self._compute_masks()
        elif "resize" in self.actions:
            self.taken.append("resize")
            self._part("masks")
            write_masks_part(self.scene, self.findings, None, self.work / "out" / "masks")
        if self.actions & {"depth", "cloud"}:
            self._compute_depth_and_cloud()
        return {
            "parts": sorted(self.parts),
            "left_out": self.left_out,
            "actions": self.taken,
            "scores": self.scores,
        }

    def _part(self, name: str) -> Path:
        self.parts.append(name)
        folder = self.work / "out" / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _images(self) -> Path:
        """Write the whole images once."""
        folder = self.work / "images"
        if not self._has_images:
            folder.mkdir(parents=True, exist_ok=True)
            for frame in self.frames:
                (folder / frame.image).write_bytes(self.scene.image_bytes(frame.image))
            self._has_images = True
        return folder

    def _estimate_cameras(self) -> None:
        from walkaround.cameras import estimate_cameras
        from walkaround.io.colmap import write_sparse_model

        self.taken.append("cameras")
        result = estimate_cameras(
            self._images(),
            self.frames,
            focal_prior_px=None,
            ordered=False,
            scratch_dir=self.work / "scratch",
            options=self.options.cameras,
            seed=self.options.seed,
            num_threads=self.options.threads or usable_cores(),
            progress=lambda share: self.progress("cameras", share),
        )
        self._judge(result.scores)
        write_sparse_model(self._part("sparse") / "0", result.model)

    def _mend(self) -> None:
        self.taken.append("mend")
        if self.scene.has_cameras:
            mend_sparse(self.scene, {frame.image for frame in self.frames}, self._part("sparse") / "0")

    def _judge(self, scores: dict[str, float]) -> None:
        """Keep scores; a stage that misses a rule ends the repair."""
        self.scores |= scores
        status, reasons = judge(scores)
        if status == "rejected":
            code = next(code for code in reasons if RULES_BY_CODE[code].verdict == "reject")
            raise SequenceRejected(code, RULES_BY_CODE[code].text, scores)

    def _model(self, *, normalised: bool) -> SparseModel:
        """Return the cameras as they are after repair; those of others brought to our world's size."""
        from walkaround.cameras.normalise import normalise
        from walkaround.io.colmap import read_sparse_model

        made = self.work / "out" / SPARSE
        model = read_sparse_model(made, self.frames) if made.is_dir() else self.scene.read_sparse()
        if model is None:
            raise SequenceRejected("no_cameras", "Masks and depth need cameras, and there are none.")
        here = {frame.image: frame for frame in self.frames}
        kept = [number for number, view in enumerate(model.views) if view.frame.image in here]
        model = dataclasses.replace(
            model,
            views=tuple(
                dataclasses.replace(model.views[n], frame=here[model.views[n].frame.image]) for n in kept
            ),
            observations=tuple(model.observations[n] for n in kept),
        )
        return model if self.scene.record is not None or not normalised else normalise(model)[0]

    def _depth(self, model: SparseModel, depth: Path, confidence: Path) -> None:
        from walkaround.depth import write_depth_maps

        self.taken.append("depth")
        depth.mkdir(parents=True, exist_ok=True)
        confidence.mkdir(parents=True, exist_ok=True)
        result = write_depth_maps(
            self._images(),
            model,
            depth,
            confidence,
            options=self.options.depth,
            num_threads=self.options.threads,
            progress=lambda share: self.progress("depth", share),
        )
        self._judge(result.scores)

    def _compute_masks(self) -> None:
        from walkaround.masks import write_masks

        model = self._model(normalised=True)
        depth = self.work / "depth"
        self._depth(model, depth, self.work / "confidence")
        self.taken.append("masks")
        fresh = self.work / "masks"
        fresh.mkdir()
        result = write_masks(
            self._images(),
            self.frames,
            model,
            depth,
            fresh,
            options=self.options.masks,
            num_threads=self.options.threads,
            progress=lambda share: self.progress("masks", share),
        )
        self._judge(result.scores)
        write_masks_part(self.scene, self.findings, fresh, self._part("masks"), images=self.frames)

    def _compute_depth_and_cloud(self) -> None:
        from walkaround.cloud import write_cloud

        model = self._model(normalised=False)
        depth = self._part("depth")
        self._depth(model, depth, self._part("confidence"))
        if "cloud" not in self.actions:
            return
        masks = self.work / "out" / "masks"
        if not masks.is_dir():
            masks = self.work / "their-masks"
            masks.mkdir()
            write_masks_part(self.scene, (), None, masks, images=self.frames, plain_names=True)
        self.taken.append("cloud")
        self.parts += ["cloud.ply", "cloud.pcd"]
        result = write_cloud(
            self._images(),
            model,
            depth,
            masks,
            self.work / "out" / "cloud.ply",
            self.work / "out" / "cloud.pcd",
            options=self.options.cloud,
            num_threads=self.options.threads,
            progress=lambda share: self.progress("cloud", share),
        )
        self._judge(result.scores)
