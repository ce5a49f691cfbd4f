"""What can be chosen about a build: the options of all stages together."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, field
from pathlib import Path

from walkaround.cameras.options import CamerasOptions
from walkaround.capture.options import CaptureOptions
from walkaround.cloud.options import CloudOptions
from walkaround.depth.options import DepthOptions
from walkaround.frames.options import FramesOptions
from walkaround.hdr.options import HdrOptions
from walkaround.masks.options import MasksOptions
from walkaround.restore.options import RestoreFramesOptions
from walkaround.threads import usable_cores


@dataclass(frozen=True, kw_only=True)
class BuildOptions:
    """Everything that can be chosen about one build."""

    class_label: str = "unlabelled"
    """What the object is; names the folder of its class."""
    classes: Path | None = None
    """``mvimgnet``, ``mvimgnet2`` or a CSV table with a column ``label``; the class label must be in it."""
    seed: int = 0
    """Seed of everything random."""
    threads: int = 0
    """Threads to use; 0 means all cores. Does not change which stages run."""
    overwrite: bool = False
    """Forget what an earlier run of the same input left and start afresh."""
    instance_id: str | None = None
    """Names the sequence's folder; None takes the first 12 hex digits of the source's SHA-256."""
    licence: str | None = None
    """The licence of this capture, kept in the record; None is the dataset's own."""
    consent: bool | None = None
    """Whether the collector agreed, kept in the record; False is a refusal, None when nobody asked."""
    capture: CaptureOptions = field(default_factory=CaptureOptions)
    frames: FramesOptions = field(default_factory=FramesOptions)
    hdr: HdrOptions | None = None
    """The capture has alternating exposures, and its frames are fused; None takes them as they are."""
    restore: RestoreFramesOptions = field(default_factory=RestoreFramesOptions)
    cameras: CamerasOptions = field(default_factory=CamerasOptions)
    depth: DepthOptions = field(default_factory=DepthOptions)
    masks: MasksOptions = field(default_factory=MasksOptions)
    cloud: CloudOptions = field(default_factory=CloudOptions)

    @property
    def num_threads(self) -> int:
        return self.threads if self.threads > 0 else usable_cores()


@dataclass(frozen=True, kw_only=True)
class BatchPart:
    """What a batch wants otherwise: the batch itself writes ``dataset.json`` and the catalogue."""

    until: str | None = None
    """End after this stage and leave the sequence incomplete: its other stages run elsewhere."""
    movable: Container[str] = frozenset()
    """Instance ids whose folder may move here from another class label; a single build moves any."""
