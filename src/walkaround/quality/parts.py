"""What the folder of one sequence holds for a page about it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from walkaround.dataset.schema import SequenceRecord, read_record
from walkaround.errors import FormatError
from walkaround.quality.plan import largest_gap_deg
from walkaround.types import PointCloud, SparseModel

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class SequenceParts:
    """One sequence: its record, cameras and cloud; None where a stage did not get that far."""

    folder: Path
    record: SequenceRecord
    model: SparseModel | None
    cloud: PointCloud | None
    """None also when it has no point."""

    @property
    def in_order(self) -> bool:
        """True when frames follow each other in time, so that a line through the cameras is a path."""
        cameras = self.record.stages.get("cameras")
        return self.record.source.kind == "video" or bool(cameras and cameras.notes.get("in_order"))

    @property
    def front_deg(self) -> float:
        """The azimuth in the middle of the cameras; 0 when they stand all around."""
        if self.model is None or not self.model.views:
            return 0.0
        gap, start = largest_gap_deg(np.array([view.centre for view in self.model.views]))
        return start + gap + (360 - gap) / 2 if gap > 45 else 0.0


def read_parts(sequence_dir: Path, record: SequenceRecord | None = None) -> SequenceParts:
    """Read a sequence's folder; a broken model or cloud is left out with a warning.

    Raises
    ------
    FormatError
        ``sequence.json`` is missing or broken.
    """
    return SequenceParts(
        folder=sequence_dir,
        record=record or read_record(sequence_dir),
        model=_read_model(sequence_dir),
        cloud=_read_cloud(sequence_dir / "cloud.ply"),
    )


def _read_model(sequence_dir: Path) -> SparseModel | None:
    if not (sequence_dir / "sparse" / "0").is_dir():
        return None
    from walkaround.io.colmap import read_sparse_model

    try:
        return read_sparse_model(sequence_dir / "sparse" / "0")
    except FormatError as error:
        logger.warning("the report shows no cameras: %s", error)
        return None


def _read_cloud(path: Path) -> PointCloud | None:
    if not path.is_file():
        return None
    from walkaround.io.pointcloud import read_ply

    try:
        cloud = read_ply(path)
    except FormatError as error:
        logger.warning("the report shows no cloud: %s", error)
        return None
    return cloud if len(cloud.points_in_world) else None
