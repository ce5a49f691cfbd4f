"""The dataset on disk: schema of ``sequence.json``, catalogue, class table."""

from walkaround.dataset.schema import (
    FrameRecord,
    SequenceRecord,
    SourceRecord,
    StageRecord,
    read_record,
    write_record,
)

__all__ = [
    "FrameRecord",
    "SequenceRecord",
    "SourceRecord",
    "StageRecord",
    "read_record",
    "write_record",
]
