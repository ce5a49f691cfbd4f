"""All checks of one scene."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from walkaround.dataset.audit.cameras import check_cameras
from walkaround.dataset.audit.finding import Finding, finding_to_dict, make_finding
from walkaround.dataset.audit.images import Complaints, check_images, heard_complaints, no_complaints
from walkaround.dataset.audit.masks import check_masks
from walkaround.dataset.audit.options import AuditOptions
from walkaround.dataset.audit.others import check_cloud, check_depth
from walkaround.dataset.readers.scene import Scene
from walkaround.errors import FormatError


def audit_scene(
    scene: Scene, options: AuditOptions | None = None, *, complaints: Complaints = no_complaints
) -> list[Finding]:
    """Return everything that is wrong with a scene; an empty list is a clean one.

    Parameters
    ----------
    complaints
        Returns what native code printed since the last call (:func:`~.images.heard_complaints`).
    """
    options = options or AuditOptions()
    key = (scene.class_label, scene.instance_id)
    findings: list[Finding] = []
    try:
        has_record = scene.record is not None
    except FormatError as error:
        return [make_finding(key, "broken_record", ["sequence.json"], str(error))]
    if not scene.image_names:
        if scene.has_cameras or scene.files.names("masks") or has_record:
            findings.append(make_finding(key, "no_images"))
        return [*findings, *check_cloud(scene)]
    images = check_images(scene, decode=options.decode, complaints=complaints)
    cameras = check_cameras(scene, images.sizes_wh)
    return [
        *images.findings,
        *cameras.findings,
        *check_masks(scene, images.sizes_wh, cameras, options),
        *check_depth(scene, images.sizes_wh, (cameras.file_of or {}).values(), decode=options.decode),
        *check_cloud(scene),
    ]


def audit_scenes(
    scenes: Iterable[Scene], options: AuditOptions, *, progress: Callable[[str, float], None]
) -> list[dict[str, Any]]:
    """Audit scenes in a process that does nothing else; return plain data, a dictionary a scene.

    ``progress`` is called with each scene's key before it is looked at, so that a crash can be laid to it.
    """
    out = []
    scenes = list(scenes)
    with heard_complaints() as complaints:
        for number, scene in enumerate(scenes):
            progress(scene.key, number / len(scenes))
            found = audit_scene(scene, options, complaints=complaints)
            num_images = len(scene.image_names)
            out.append({"num_images": num_images, "findings": [finding_to_dict(f) for f in found]})
    return out
