"""A folder for the Hugging Face Hub: Parquet with the pictures inside, and a dataset card.

``datasets.load_dataset(folder, "frames")`` and ``"scenes"`` read it, offline too:
https://huggingface.co/docs/datasets/image_dataset and huggingface.co/docs/hub/datasets-manual-configuration.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from walkaround.dataset.exchange.base import About, Exporter
from walkaround.dataset.exchange.options import ExportOptions
from walkaround.dataset.exchange.rows import (
    FRAME_COLUMNS,
    SCENE_COLUMNS,
    frame_rows,
    scene_row,
    write_parquet,
)
from walkaround.dataset.readers import Scene
from walkaround.io.atomic import write_bytes

SHARD_BYTES = 256 << 20
"""A file is closed when its pictures take this much."""
_PICTURE = "STRUCT(bytes BLOB, path VARCHAR)"
_PATHS = ("image_path", "mask_path", "depth_path")
_FEATURES = {
    "VARCHAR": "dtype: string",
    "INTEGER": "dtype: int32",
    "DOUBLE": "dtype: float64",
    "DOUBLE[]": "sequence: float64",
    _PICTURE: "dtype: image",
}
"""DuckDB's type -> what the card calls it; without the card, pictures would be plain bytes."""
_PICTURES = {"image": _PICTURE, "mask": _PICTURE, "depth": _PICTURE}
_FRAME_TYPES = {**{c.name: c.sql for c in FRAME_COLUMNS if c.name not in _PATHS}, **_PICTURES}
_SCENE_TYPES = {column.name: column.sql for column in SCENE_COLUMNS}


class HuggingFaceExporter(Exporter):
    """``frames/<split>-*.parquet``, ``scenes/<split>-*.parquet`` and ``README.md``."""

    one_dataset = True
    needs_cameras = False

    def __init__(self, out: Path, options: ExportOptions, about: About) -> None:
        super().__init__(out, options, about)
        self._scenes: dict[str, list[dict[str, Any]]] = {}
        self._waiting: dict[str, list[dict[str, Any]]] = {}
        self._bytes: dict[str, int] = {}
        self._num_shards: dict[str, int] = {}

    def add(self, scene: Scene, folder: Path) -> None:
        split = self.about.split_of.get(scene.key, "train")
        self._scenes.setdefault(split, []).append(scene_row(scene, self.about.split_of.get(scene.key)))
        for row in frame_rows(scene):
            pictures = self._pictures(scene, row)
            self._waiting.setdefault(split, []).append({**row, **pictures})
            size = sum(len(picture["bytes"]) for picture in pictures.values() if picture is not None)
            self._bytes[split] = self._bytes.get(split, 0) + size
            if self._bytes[split] >= SHARD_BYTES:
                self._write_shard(split)

    def finish(self) -> None:
        for split in list(self._waiting):
            if self._waiting[split]:
                self._write_shard(split)
        for split, rows in self._scenes.items():
            path = self.out / "scenes" / f"{split}-00000.parquet"
            write_parquet(path, rows, _SCENE_TYPES)
        write_bytes(self.out / "README.md", self._card().encode())

    def _pictures(self, scene: Scene, row: dict[str, Any]) -> dict[str, dict[str, Any] | None]:
        wanted = {"image": True, "mask": self.options.masks, "depth": self.options.depth}
        out: dict[str, dict[str, Any] | None] = {}
        for name, is_wanted in wanted.items():
            path = row[f"{name}_path"] if is_wanted else None
            inner = None if path is None else path.removeprefix(f"{scene.key}/")
            out[name] = None if inner is None else {"bytes": scene.files.read(inner), "path": path}
        return out

    def _write_shard(self, split: str) -> None:
        number = self._num_shards.get(split, 0)
        path = self.out / "frames" / f"{split}-{number:05d}.parquet"
        write_parquet(path, self._waiting[split], _FRAME_TYPES)
        self._num_shards[split] = number + 1
        self._waiting[split], self._bytes[split] = [], 0

    def _card(self) -> str:
        """Return the dataset card; its head tells the Hub and ``datasets`` what there is."""
        names = {"frames": sorted(self._num_shards), "scenes": sorted(self._scenes)}
        head = [f"license: {'other' if self.about.licence is None else json.dumps(self.about.licence)}"]
        head += [f"pretty_name: {json.dumps(self.about.name)}", "dataset_info:"]
        for config, types in (("frames", _FRAME_TYPES), ("scenes", _SCENE_TYPES)):
            head += [f"- config_name: {config}", "  features:"]
            for name, kind in types.items():
                head += [f"  - name: {name}", f"    {_FEATURES[kind]}"]
        head += ["configs:"]
        for config, splits in names.items():
            head += [f"- config_name: {config}", "  data_files:"]
            for split in splits:
                head += [f"  - split: {split}", f"    path: {config}/{split}-*.parquet"]
        columns = [f"| `{c.name}` | {c.text} |" for c in FRAME_COLUMNS if c.name not in _PATHS]
        return "\n".join(
            [
                "---", *head, "---", f"# {self.about.name}", "",
                "Multi-view images of objects with cameras, masks and depth, written by walkaround.", "",
                '`load_dataset(folder, "frames")` has a row an image, `"scenes"` a row an object.', "",
                "| column | meaning |", "| --- | --- |",
                "| `image`, `mask`, `depth` | pictures; depth is 16-bit, times `depth_scale`, 0 = unknown |",
                *columns, "",
            ]
        )  # fmt: skip
