"""A dataset in one of three layouts (ours, MVImgNet 1 and 2.0, MVPNet), in folders or zip archives."""

from __future__ import annotations

import difflib
import json
import logging
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, overload

import duckdb
import numpy as np

from walkaround.dataset.database import READ_ERRORS, connect
from walkaround.dataset.description import read_description
from walkaround.dataset.query import guard, said
from walkaround.dataset.readers.files import FolderFiles, Member, Mount, MountedFiles, SceneFiles, ZipFiles
from walkaround.dataset.readers.index import (
    PLAIN,
    PLAIN_WITH_MASKS,
    open_index,
    read_catalog_index,
    read_row,
)
from walkaround.dataset.readers.overlay import overlay_of, with_repairs
from walkaround.dataset.readers.scan import find_mask_tree
from walkaround.dataset.readers.scene import Scene
from walkaround.dataset.rows import CATALOG_NAME
from walkaround.errors import FormatError, UsageError
from walkaround.types import IntArray, Progress, no_progress

logger = logging.getLogger(__name__)


class Dataset(Sequence[Scene]):
    """The scenes of a dataset, lazily.

    ``dataset[3]``, ``dataset["0a00b2"]`` and ``dataset["17/0a00b2"]`` are scenes; ``query``, ``split`` and
    ``select`` give smaller datasets. Opening costs no look at the scenes: our own datasets have a catalogue,
    for a download a list is made once and kept (``walkaround.dataset.readers.index``).

    Parameters
    ----------
    root
        The folder of a dataset, or a zip archive of one.
    masks
        MVImgNet's masks where they are a tree or archive of their own; ``"auto"`` finds ``<root>_mask`` and
        ``MVImgNet_mask``.
    overlay
        Where repairs lie (``walkaround repair``); ``"auto"`` finds ``<root>.repaired``.
    statuses
        Of our own datasets, which sequences; None for all.
    index
        Where the list of a download is kept; None for the cache folder.
    refresh
        Make the list anew (when files changed inside of scenes, which is not noticed).

    Raises
    ------
    FormatError
        There are no scenes, or an archive or the catalogue is broken.
    """

    def __init__(
        self,
        root: Path | str,
        *,
        masks: Path | str | Literal["auto"] | None = "auto",
        overlay: Path | str | Literal["auto"] | None = "auto",
        statuses: tuple[str, ...] | None = ("accepted",),
        index: Path | str | None = None,
        refresh: bool = False,
        progress: Progress = no_progress,
    ) -> None:
        self.root = Path(root)
        if self.root.name in ("", ".."):  # `.` has no name that neighbours could be found by
            self.root = self.root.resolve()
        if not self.root.exists():
            raise FormatError(f"{self.root} does not exist.")
        self.masks_root = find_mask_tree(self.root) if masks == "auto" else Path(masks) if masks else None
        if self.masks_root is not None and not self.masks_root.exists():
            raise FormatError(f"The mask tree {self.masks_root} does not exist.")
        place = overlay_of(self.root) if overlay == "auto" else Path(overlay) if overlay else None
        self.overlay = place if place is not None and place.is_dir() else None
        described = (
            self.root.is_dir() and read_description(self.root) is not None
        )  # another version: said now
        if (self.root / CATALOG_NAME).is_file():
            self._index = read_catalog_index(self.root)
        else:
            if described:
                logger.warning(
                    "%s has no %s, so rejected sequences are read, too; the next build writes it again.",
                    self.root,
                    CATALOG_NAME,
                )
            keep_at = Path(index) if index is not None else None
            self._index = open_index(
                self.root, masks=self.masks_root, keep_at=keep_at, refresh=refresh, progress=progress
            )
        self._numbers: IntArray = np.arange(len(self._index))
        if self._index.is_catalog and statuses is not None:
            listed = ", ".join(f"'{status}'" for status in statuses if status.isalpha())
            self._numbers = self._matching(f"status IN ({listed or 'NULL'})")

    @property
    def layout(self) -> str:
        """``walkaround`` for our own datasets, else ``released``."""
        return "walkaround" if self._index.is_catalog else "released"

    @property
    def table(self) -> Path:
        """The Parquet file behind it: the catalogue, or the list that was made of a download."""
        return self._index.path

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, item: int | str) -> Scene: ...
    @overload
    def __getitem__(self, item: slice) -> Dataset: ...
    def __getitem__(self, item: int | str | slice) -> Scene | Dataset:
        """Return the scene at a position, of an instance id or of a key; KeyError, IndexError without one."""
        if isinstance(item, slice):
            return self._part(self._numbers[item])
        if isinstance(item, str):
            return self._scene(self._find(item))
        return self._scene(int(self._numbers[item]))

    def __iter__(self) -> Iterator[Scene]:
        return (self._scene(int(number)) for number in self._numbers)

    def __contains__(self, item: object) -> bool:
        if not isinstance(item, str):
            return False
        try:
            self._find(item)
        except KeyError:
            return False
        return True

    def keys(self) -> list[str]:
        """Return ``<class label>/<instance id>`` of all scenes, in their order."""
        return ["/".join(self._index.key(int(number))) for number in self._numbers]

    @property
    def classes(self) -> tuple[str, ...]:
        """Class labels that have scenes here, sorted (those that are numbers as numbers)."""
        labels = {
            self._index.class_labels[number] for number in np.unique(self._index.class_of[self._numbers])
        }
        return tuple(
            sorted(labels, key=lambda label: (len(label), label) if label.isdigit() else (1000, label))
        )

    def class_name(self, class_label: str) -> str:
        """Return the name of a class: that of its id in the tables of MVImgNet, else the label itself."""
        return self._index.class_names.get(class_label, (None, None))[1] or class_label

    def query(self, where: str) -> Dataset:
        """Return the scenes that a condition of SQL holds for.

        Columns of our own datasets are those of the catalogue (docs/format.md); of downloads ``class_label``,
        ``class_id``, ``class_name``, ``instance_id``, ``num_images``, ``num_masks``, ``has_cameras``,
        ``has_depth``, ``has_cloud``: ``dataset.query("class_name = 'bottle' AND num_masks > 20")``.

        Raises
        ------
        UsageError
            The condition is wrong.
        """
        return self._part(self._numbers[np.isin(self._numbers, self._matching(where))])

    def select(self, keys: Iterable[str]) -> Dataset:
        """Return the scenes of instance ids or keys, in that order; KeyError for one that is not there."""
        return self._part(np.array([self._find(key) for key in keys], dtype=np.int64))

    def split(self, name: str | Path) -> Dataset:
        """Return one part of a split.

        Parameters
        ----------
        name
            ``train``, ``val`` or ``test`` of ``ROOT/splits``, or the path of a JSON list such as MVPNet's
            official files. Scenes of the list that the dataset lacks (a partial download) are left out.

        Raises
        ------
        FormatError
            There is no such list.
        """
        own = self.root / "splits" / f"{name}.json"
        path = own if own.is_file() else Path(name)
        try:
            listed = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise FormatError(f"There is no split {name}: {path} cannot be read ({reason}).") from error
        if not isinstance(listed, list) or not all(isinstance(key, str) for key in listed):
            raise FormatError(f"{path} is no list of '<class>/<instance>'.")
        keys = (key.removesuffix(".pcd") for key in listed)
        return self.select(key for key in keys if key in self)

    def without_overlay(self) -> Dataset:
        """Return the same scenes as they were downloaded, without repairs."""
        part = self._part(self._numbers)
        part.overlay = None
        return part

    def _part(self, numbers: IntArray) -> Dataset:
        part = object.__new__(Dataset)
        part.__dict__.update({name: value for name, value in self.__dict__.items() if name != "_by_id"})
        part._numbers = numbers
        return part

    def _find(self, key: str) -> int:
        """Return the number of the scene of an instance id or key."""
        label, _, instance_id = key.rpartition("/")
        found = [n for n in self._by_id.get(instance_id, ()) if label in ("", self._index.key(n)[0])]
        if len(found) == 1:
            return found[0]
        if found:
            listed = " or ".join("/".join(self._index.key(number)) for number in found)
            raise KeyError(f"{key} is the id of several scenes; write {listed}.")
        near = difflib.get_close_matches(instance_id, list(self._by_id)[:20_000], n=3)
        hint = f" Near: {', '.join(near)}." if near else ""
        raise KeyError(f"{self.root} has no scene {key}.{hint}")

    @cached_property
    def _by_id(self) -> dict[str, list[int]]:
        out: dict[str, list[int]] = {}
        for number in self._numbers:
            out.setdefault(str(self._index.instance_ids[number]), []).append(int(number))
        return out

    def _matching(self, where: str) -> IntArray:
        """Return the sorted numbers of all scenes that a condition holds for."""
        path = str(self._index.path)
        sql = f"SELECT file_row_number FROM scenes WHERE ({where}\n)"
        with (
            tempfile.TemporaryDirectory(prefix="walkaround-query-") as scratch,
            connect(temp_directory=scratch) as database,
        ):
            database.read_parquet(path, file_row_number=True).create_view("scenes")
            try:
                guard(database, sql, [path])
                rows = database.execute(sql).fetchnumpy()["file_row_number"]
            except (*READ_ERRORS, duckdb.Error) as error:
                raise UsageError(f"The condition {where!r:.200} cannot be used: {said(error)}") from error
        return np.flatnonzero(np.isin(self._index.rows, np.asarray(rows, dtype=np.int64)))

    def _scene(self, number: int) -> Scene:
        label, instance_id = self._index.key(number)
        class_id, class_name = self._index.class_names.get(label, (None, None))
        files = self._files(number, label, instance_id)
        repaired: tuple[str, ...] = ()
        if self.overlay is not None:
            files, repaired = with_repairs(files, self.overlay / label / instance_id)
        return Scene(
            class_label=label,
            instance_id=instance_id,
            files=files,
            class_id=class_id,
            class_name=class_name,
            repaired=repaired,
        )

    def _files(self, number: int, label: str, instance_id: str) -> SceneFiles:
        plain = int(self._index.plain[number])
        if plain == PLAIN:
            return FolderFiles(self.root / label / instance_id)
        if plain == PLAIN_WITH_MASKS and self.masks_root is not None:
            masks = Mount(FolderFiles(self.masks_root / label / instance_id))
            return MountedFiles(FolderFiles(self.root / label / instance_id), {"masks": masks})
        return self._mounted(read_row(self._index, number))

    def _mounted(self, row: dict[str, Any]) -> SceneFiles:
        """Put the files of a scene together from the places that its row names."""
        packed = ZipFiles({member["path"]: self._member(member) for member in row["members"] or ()})
        if row["place"] is row["cloud_place"] is row["masks_place"] is None:
            return packed
        parts = {path.partition("/")[0]: Mount(packed, path.partition("/")[0]) for path in packed.members}
        if row["masks_place"] is not None and self.masks_root is not None:
            parts["masks"] = Mount(FolderFiles(self.masks_root / row["masks_place"]))
        if row["cloud_place"] is not None:
            parts["cloud.pcd"] = Mount(FolderFiles(self.root), row["cloud_place"])
        base: SceneFiles = packed if row["place"] is None else FolderFiles(self.root / row["place"])
        return MountedFiles(base, parts)

    def _member(self, member: dict[str, Any]) -> Member:
        return Member(
            archive=self._index.archives[member["archive"]],
            offset=member["start"],
            packed=member["packed"],
            size=member["size"],
            method=member["method"],
            crc=member["crc"],
        )
