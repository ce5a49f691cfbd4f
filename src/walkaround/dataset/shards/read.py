"""Shards read by offset: any scene, and any file of one, with one seek and no look at the rest."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from walkaround.dataset.database import READ_ERRORS, connect, first_line, load_rows
from walkaround.dataset.readers.files import MAX_FILE_BYTES
from walkaround.dataset.readers.scene import Scene
from walkaround.dataset.shards.layout import (
    DESCRIPTION_NAME,
    INDEX_NAME,
    SHARD_VERSION,
    Head,
    PackedFile,
    decode_head,
    padding,
    shard_name,
)
from walkaround.dataset.shards.place import Place, local_place
from walkaround.errors import FormatError
from walkaround.io.image import natural_key
from walkaround.io.png_grey import inflate
from walkaround.types import BoolArray, ByteArray, IntArray

_NUMBERS = (
    "class_number",
    "shard",
    "head_offset",
    "head_bytes",
    "num_images",
    "num_views",
    "num_masks",
    "num_boxes",
    "num_depth",
)


@dataclass(frozen=True)
class ShardFiles:
    """The files of one scene in a shard; what readers call ``SceneFiles``."""

    place: Place
    shard: int
    start: int
    """Where the offsets of the files count from."""
    head: Head

    def names(self, folder: str) -> tuple[str, ...]:
        names = (rest for rest in self._below(folder) if "/" not in rest)
        return tuple(sorted(names, key=lambda name: (natural_key(name), name)))

    def folders(self, folder: str) -> tuple[str, ...]:
        names = {rest.partition("/")[0] for rest in self._below(folder) if "/" in rest}
        return tuple(sorted(names, key=lambda name: (natural_key(name), name)))

    def size(self, path: str) -> int | None:
        file = self._files.get(path)
        return None if file is None else file.size

    def read(self, path: str) -> bytes:
        file = self._files.get(path)
        if file is None:
            raise FormatError(f"{self.where(path)} is not there.")
        if file.size > MAX_FILE_BYTES:
            raise FormatError(f"{self.where(path)} is larger than {MAX_FILE_BYTES >> 20} MB.")
        return self.place.read(shard_name(self.shard), self.start + file.offset, file.size)

    def read_checked(self, path: str) -> bytes:
        """Return a file's bytes; :class:`FormatError` when they are not those that were packed."""
        data = self.read(path)
        if zlib.crc32(data) != self._files[path].crc:
            raise FormatError(
                f"{self.where(path)} is damaged (its checksum is another). Copy the shard again."
            )
        return data

    def read_packed_mask(self, view: int) -> ByteArray | None:
        """Return a view's mask (H, W), the values of its file in the size of its camera; None without one.

        Raises
        ------
        FormatError
            It is damaged.
        """
        mask = self.head.masks[view]
        if mask is None:
            return None
        packed = self.place.read(shard_name(self.shard), self.start + mask.offset, mask.size)
        try:
            values = np.frombuffer(inflate(packed, mask.width * mask.height), np.uint8)
            camera = self.head.cameras[view]
            out = np.zeros((camera.height, camera.width), np.uint8)
            rows, columns = (
                slice(at, at + n) for at, n in ((mask.top, mask.height), (mask.left, mask.width))
            )
            out[rows, columns] = values.reshape(mask.height, mask.width)
        except ValueError as error:
            image = self.head.images[view]
            raise FormatError(f"{self.where(image)}: its packed mask is damaged ({error}).") from error
        return out

    def where(self, path: str) -> str:
        return (
            f"{self.head.class_label}/{self.head.instance_id}/{path} in"
            f" {self.place.where(shard_name(self.shard))}"
        )

    @cached_property
    def _files(self) -> dict[str, PackedFile]:
        return {file.path: file for file in self.head.files}

    def _below(self, folder: str) -> list[str]:
        prefix = f"{folder}/" if folder else ""
        return [path[len(prefix) :] for path in self._files if path.startswith(prefix)]


class Shards(Sequence[Scene]):
    """The scenes of a folder of shards; each is a :class:`Scene`, as readers of other layouts give.

    Opening reads the numbers of the index and nothing else; a scene costs one read of its head.

    Parameters
    ----------
    root
        The folder that ``walkaround shard`` wrote, or its URL (http, s3, gs, ...).

    Raises
    ------
    FormatError
        There is no finished index, or one of another version.
    """

    def __init__(self, root: Path | str) -> None:
        self.place = local_place(root)
        self.classes: tuple[str, ...] = ()
        """Class labels, in the order that ``Dataset.classes`` has."""
        self.description = self._describe()
        self._table = self._load()

    @property
    def root(self) -> str:
        """The folder, or its URL."""
        return self.place.root

    def __len__(self) -> int:
        return len(self._table["shard"])

    def __iter__(self) -> Iterator[Scene]:
        return (self._scene(number) for number in range(len(self)))

    def __getitem__(self, item: Any) -> Any:
        """Return the scene at a position, or of a key ``<class label>/<instance id>``."""
        if isinstance(item, slice):
            return [self._scene(number) for number in range(*item.indices(len(self)))]
        if isinstance(item, str):
            if item not in self._by_key:
                raise KeyError(f"{self.root} has no scene {item}.")
            return self._scene(self._by_key[item])
        number = int(item)
        if not -len(self) <= number < len(self):
            raise IndexError(f"{self.root} has {len(self)} scenes, not a scene {number}.")
        return self._scene(number % len(self))

    def keys(self) -> list[str]:
        """Return ``<class label>/<instance id>`` of all scenes, in their order."""
        return list(self._by_key)

    def key(self, number: int) -> str:
        """Return the key of the scene at a position."""
        return self.keys()[number]

    @property
    def shard_of(self) -> IntArray:  # (N,)
        """The number of each scene's shard; never falling."""
        return self._table["shard"]

    def counts(self, name: str) -> IntArray:  # (N,)
        """Return a column of the index: ``num_images``, ``num_views``, ``num_masks``, ``num_boxes``, ..."""
        return self._table[name]

    def usable(self, *, min_views: int, boxes: bool, masks: bool, depth: bool) -> BoolArray:  # (N,)
        """Return which scenes have what is asked for, by the index alone."""
        ok = self._table["num_views"] >= min_views
        for name, wanted in (("num_boxes", boxes), ("num_masks", masks), ("num_depth", depth)):
            if wanted:
                ok &= self._table[name] > 0
        return np.asarray(ok)

    def files(self, number: int) -> ShardFiles:
        """Return the files of a scene, with its head.

        Raises
        ------
        FormatError
            The shard is missing, cut off or not the index's.
        """
        shard, offset, size = (int(self._table[n][number]) for n in ("shard", "head_offset", "head_bytes"))
        name = shard_name(shard)
        where = f"the scene at byte {offset} of {self.place.where(name)}"
        head = decode_head(self.place.read(name, offset, size), where)
        return ShardFiles(self.place, shard, offset + size + padding(size), head)

    def _scene(self, number: int) -> Scene:
        files = self.files(number)
        head = files.head
        return Scene(
            class_label=head.class_label,
            instance_id=head.instance_id,
            files=files,
            class_id=head.class_id,
            class_name=head.class_name,
        )

    def _describe(self) -> dict[str, Any]:
        where = self.place.where(DESCRIPTION_NAME)
        try:
            value = json.loads(self.place.read_all(DESCRIPTION_NAME))
            version = value["schema_version"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise FormatError(f"{where} does not describe shards ({error}). Pack them again.") from error
        if version != SHARD_VERSION:
            raise FormatError(
                f"{where} has schema_version {version!r:.20}, this walkaround reads {SHARD_VERSION}."
                " Pack the dataset again, or install the matching version."
            )
        return dict(value)

    def _load(self) -> dict[str, IntArray]:
        """Read the numbers of the index, and the class labels."""
        counts = ", ".join(name for name in _NUMBERS if name.startswith("num_"))
        with self.place.as_file(INDEX_NAME) as path:
            try:
                with connect() as database:
                    database.read_parquet(str(path), file_row_number=True).create_view("scenes")
                    found = database.execute("SELECT DISTINCT class_label FROM scenes").fetchall()
                    self.classes = tuple(sorted((str(row[0]) for row in found), key=class_order))
                    numbered = [{"label": label, "class_number": n} for n, label in enumerate(self.classes)]
                    load_rows(database, "classes", numbered, {"label": "VARCHAR", "class_number": "BIGINT"})
                    values = database.execute(
                        f"SELECT class_number, shard, head_offset, head_bytes, {counts} FROM scenes"
                        " JOIN classes ON class_label = label ORDER BY file_row_number"
                    ).fetchnumpy()
            except READ_ERRORS as error:
                where = self.place.where(INDEX_NAME)
                raise FormatError(f"{where} is not readable: {first_line(error)}") from error
        return {name: np.asarray(values[name], dtype=np.int64) for name in _NUMBERS}

    @cached_property
    def _by_key(self) -> dict[str, int]:
        with self.place.as_file(INDEX_NAME) as path, connect() as database:
            database.read_parquet(str(path), file_row_number=True).create_view("scenes")
            rows = database.execute(
                "SELECT class_label || '/' || instance_id FROM scenes ORDER BY file_row_number"
            ).fetchall()
        return {str(row[0]): number for number, row in enumerate(rows)}


def class_order(label: str) -> tuple[int, str]:
    """Return a sort key of class labels: ids as numbers, then words."""
    return (len(label), label) if label.isdigit() else (1000, label)
