"""Pack a dataset: one shard after the other, the same bytes each time, continued after a kill.

A shard counts when its rows lie in ``OUT/.parts``; both come under their names only when complete. The index
is put together from the rows at the end; without it the shards are not readable as a dataset.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from walkaround.dataset.database import connect, load_rows
from walkaround.dataset.readers import Dataset
from walkaround.dataset.rows import CATALOG_NAME
from walkaround.dataset.shards.gather import Gathered, gather
from walkaround.dataset.shards.layout import (
    DESCRIPTION_NAME,
    HEAD_SUFFIX,
    INDEX_COLUMNS,
    INDEX_NAME,
    MASKS_SUFFIX,
    ROOT_FOLDER,
    SHARD_VERSION,
    encode_head,
    member_header,
    member_suffixes,
    padding,
    sample_key,
    shard_name,
)
from walkaround.dataset.shards.options import ShardOptions
from walkaround.errors import FormatError, UsageError
from walkaround.io.atomic import atomic_path, output_error, write_bytes, write_json
from walkaround.io.locks import locked
from walkaround.types import Progress, no_progress

logger = logging.getLogger(__name__)

_PARTS = ".parts"
_ROOT_FILES = ("dataset.json", "splits/*.json", "duplicates.json", "reviews.jsonl")
_TAR_RECORD = 10_240


@dataclass(frozen=True, kw_only=True)
class ShardsWritten:
    """What lies in ``OUT`` in the end."""

    num_scenes: int
    num_shards: int
    num_bytes: int
    num_with_problems: int
    """Scenes packed now whose cameras or record are broken: they have files, but no views."""


def write_shards(
    dataset: Dataset,
    out: Path,
    *,
    options: ShardOptions | None = None,
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> ShardsWritten:
    """Pack the scenes of a dataset into tars, with an index.

    Parameters
    ----------
    dataset
        Any dataset, or a part of one (``dataset.query(...)``).
    out
        A folder: new, empty, or of the same shards (which are continued).
    overwrite
        Remove other shards that lie there.

    Raises
    ------
    UsageError
        Other shards, or something else, lie in ``out``.
    FormatError
        A file of the dataset cannot be read.
    OutputError
        ``out`` cannot be written, or another process packs there.
    """
    options = options or ShardOptions()
    if not len(dataset):
        raise FormatError(f"{dataset.root} holds no scenes to pack (with these statuses).")
    described = _description(dataset, options)
    busy = f"{out}: another process packs there. Wait for it, or choose another folder."
    with locked(out.absolute().parent / f".{out.name}.lock", wait=False, message=busy):
        _prepare(out, described, overwrite=overwrite)
        if not (out / INDEX_NAME).is_file():
            problems = _write_missing(dataset, out, options, progress)
            _finish(dataset, out, described)
        else:
            problems = 0
        with suppress(OSError):
            shutil.rmtree(out / _PARTS)
        progress(1.0)
        written = json.loads((out / DESCRIPTION_NAME).read_text(encoding="utf-8"))
        num_bytes = sum(path.stat().st_size for path in out.glob("shard-*.tar"))
    return ShardsWritten(
        num_scenes=written["num_scenes"],
        num_shards=written["num_shards"],
        num_bytes=num_bytes,
        num_with_problems=problems,
    )


def _description(dataset: Dataset, options: ShardOptions) -> dict[str, Any]:
    """Return what must be the same for shards to be continued."""
    digest = hashlib.sha256()
    keys = dataset.keys()
    for key in keys:
        digest.update(key.encode("utf-8", "surrogateescape") + b"\0")
    if (dataset.root / CATALOG_NAME).is_file():
        digest.update((dataset.root / CATALOG_NAME).read_bytes())
    return {
        "schema_version": SHARD_VERSION,
        "layout": dataset.layout,
        "scenes_sha256": digest.hexdigest(),
        "options": dataclasses.asdict(options),
    }


def _prepare(out: Path, described: dict[str, Any], *, overwrite: bool) -> None:
    """Leave in ``out`` nothing but shards of the same scenes and options, and their description."""
    try:
        present = sorted(path.name for path in out.iterdir()) if out.exists() else []
        if present and not _is_same(out, described):
            is_shards = (out / DESCRIPTION_NAME).is_file()
            if not (is_shards and overwrite):
                what = (
                    "shards of other scenes or options" if is_shards else f"other files ({present[0]}, ...)"
                )
                remedy = "Choose another folder" + (", or pass --overwrite." if is_shards else ".")
                raise UsageError(f"{out} holds {what}. {remedy}")
            _remove_shards(out)
        out.mkdir(parents=True, exist_ok=True)
        for leftover in out.glob(".shard-*.tmp.tar"):
            leftover.unlink()
    except OSError as error:
        raise output_error(out, error) from error
    if not (out / DESCRIPTION_NAME).is_file():
        write_json(out / DESCRIPTION_NAME, described)


def _is_same(out: Path, described: dict[str, Any]) -> bool:
    try:
        there = json.loads((out / DESCRIPTION_NAME).read_text(encoding="utf-8"))
        return {name: there[name] for name in described} == described
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _remove_shards(out: Path) -> None:
    """Remove what :func:`write_shards` writes, the index first and the description last."""
    for folder in (_PARTS, ROOT_FOLDER):
        if (out / folder).is_dir():
            shutil.rmtree(out / folder)
    for path in (out / INDEX_NAME, *sorted(out.glob("shard-*.tar")), out / DESCRIPTION_NAME):
        path.unlink(missing_ok=True)


def _write_missing(dataset: Dataset, out: Path, options: ShardOptions, progress: Progress) -> int:
    """Write the shards that are not there yet; return the number of scenes with problems."""
    number, done = _already_written(out)
    scenes = _gathered(dataset, done, options, progress)
    pending = next(scenes, None)
    problems = 0
    while pending is not None:
        rows: list[dict[str, Any]] = []
        with atomic_path(out / shard_name(number)) as temporary, temporary.open("wb") as file:
            while pending is not None and (
                not rows or file.tell() + pending.num_bytes <= options.size_mb << 20
            ):
                rows.append(_write_sample(file, pending, number))
                if pending.head.problem:
                    problems += 1
                    logger.warning(
                        "%s/%s: %s", rows[-1]["class_label"], rows[-1]["instance_id"], pending.head.problem
                    )
                pending = next(scenes, None)
            file.write(bytes(1024))
            file.write(bytes(-file.tell() % _TAR_RECORD))
        _write_rows(out / _PARTS / f"{number:06d}.parquet", rows)
        number += 1
    return problems


def _gathered(dataset: Dataset, done: int, options: ShardOptions, progress: Progress) -> Iterator[Gathered]:
    for position in range(done, len(dataset)):
        progress(position / len(dataset))
        yield gather(dataset[position], options)


def _already_written(out: Path) -> tuple[int, int]:
    """Return how many shards are complete, and how many scenes they hold."""
    count = scenes = 0
    while (part := out / _PARTS / f"{count:06d}.parquet").is_file() and (out / shard_name(count)).is_file():
        with connect() as database:
            query = "SELECT count(*) FROM read_parquet($path)"
            scenes += int(database.execute(query, {"path": str(part)}).fetchall()[0][0])
        count += 1
    return count, scenes


def _write_sample(file: BinaryIO, scene: Gathered, shard: int) -> dict[str, Any]:
    """Append the members of a scene; return its row of the index."""
    head = scene.head
    key = sample_key(head.class_label, head.instance_id)
    suffixes = member_suffixes([packed.path for packed in head.files])
    headers = [
        member_header(f"{key}.{suffix}", len(data))
        for suffix, data in zip(suffixes, scene.contents, strict=True)
    ]
    offset, placed = 0, []
    for packed, header in zip(head.files, headers, strict=True):
        placed.append(dataclasses.replace(packed, offset=offset + len(header)))
        offset += len(header) + packed.size + padding(packed.size)
    members = list(zip(headers, scene.contents, strict=True))
    masks = head.masks
    if scene.masks:
        header = member_header(f"{key}.{MASKS_SUFFIX}", len(scene.masks))
        members.append((header, scene.masks))
        start = offset + len(header)
        masks = tuple(m and dataclasses.replace(m, offset=start + m.offset) for m in masks)
    head = dataclasses.replace(head, files=tuple(placed), masks=masks)
    data = encode_head(head)
    sample_offset = file.tell()
    first = member_header(f"{key}.{HEAD_SUFFIX}", len(data))
    for header, content in ((first, data), *members):
        file.write(header)
        file.write(content)
        file.write(bytes(padding(len(content))))
    return _row(head, shard, (sample_offset, file.tell()), (sample_offset + len(first), len(data)))


def _row(head: Any, shard: int, sample: tuple[int, int], head_place: tuple[int, int]) -> dict[str, Any]:
    files_from = head_place[0] + head_place[1] + padding(head_place[1])
    parts = [packed.path.partition("/")[0] for packed in head.files]
    return {
        "class_label": head.class_label,
        "class_id": head.class_id,
        "class_name": head.class_name,
        "instance_id": head.instance_id,
        "shard": shard,
        "sample_offset": sample[0],
        "sample_bytes": sample[1] - sample[0],
        "head_offset": head_place[0],
        "head_bytes": head_place[1],
        "num_images": parts.count("images"),
        "num_views": len(head.images),
        "num_masks": parts.count("masks"),
        "num_boxes": sum(box is not None for box in head.boxes_xywh),
        "num_depth": parts.count("depth"),
        "files": [
            {"path": packed.path, "start": files_from + packed.offset, "size": packed.size}
            for packed in head.files
        ],
    }


def _write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    with atomic_path(path) as temporary, connect() as database:
        load_rows(database, "rows", rows, INDEX_COLUMNS)
        database.table("rows").write_parquet(str(temporary), compression="zstd", row_group_size=4096)


def _finish(dataset: Dataset, out: Path, described: dict[str, Any]) -> None:
    """Write the dataset's own files, the counts and, last, the index; remove the parts."""
    names = _write_root_files(dataset, out / ROOT_FOLDER)
    count, scenes = _already_written(out)
    described = {**described, "num_scenes": scenes, "num_shards": count, "root_files": names}
    write_json(out / DESCRIPTION_NAME, described)
    parts = [str(out / _PARTS / f"{number:06d}.parquet") for number in range(count)]
    with atomic_path(out / INDEX_NAME) as temporary, connect(preserve_insertion_order=True) as database:
        database.read_parquet(parts).write_parquet(str(temporary), compression="zstd", row_group_size=4096)


def _write_root_files(dataset: Dataset, folder: Path) -> list[str]:
    """Keep what belongs to the whole of one of our own datasets; return the files' names."""
    if dataset.layout != "walkaround":
        return []
    paths = sorted(path for pattern in _ROOT_FILES for path in dataset.root.glob(pattern))
    for path in paths:
        write_bytes(folder / path.relative_to(dataset.root), path.read_bytes())
    _write_catalog(dataset, folder / CATALOG_NAME)
    return [path.relative_to(dataset.root).as_posix() for path in paths] + [CATALOG_NAME]


def _write_catalog(dataset: Dataset, path: Path) -> None:
    """Write the catalogue of what is packed; the same bytes when that is everything."""
    names = dataset.keys()
    pairs = (key.rsplit("/", 1) for key in names)
    keys = [{"class_label": label, "instance_id": instance_id} for label, instance_id in pairs]
    with connect() as database:
        load_rows(database, "packed", keys, {"class_label": "VARCHAR", "instance_id": "VARCHAR"})
        database.read_parquet(str(dataset.root / CATALOG_NAME)).create_view("catalog")
        wanted = "SELECT * FROM catalog SEMI JOIN packed USING (class_label, instance_id)"
        counts = f"SELECT (SELECT count(*) FROM catalog), (SELECT count(*) FROM ({wanted}))"
        ((listed, kept),) = database.execute(counts).fetchall()
        if listed == kept:
            write_bytes(path, (dataset.root / CATALOG_NAME).read_bytes())
            return
        with atomic_path(path) as temporary:
            database.execute(f"CREATE TEMP TABLE kept AS {wanted} ORDER BY class_label, instance_id")
            database.table("kept").write_parquet(str(temporary), compression="zstd")
