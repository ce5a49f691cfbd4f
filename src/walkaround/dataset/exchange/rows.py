"""Scenes and images as rows of tables, and Parquet files of them: for Hugging Face and Croissant."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from walkaround.dataset.database import connect, first_line
from walkaround.dataset.readers import Scene
from walkaround.errors import OutputError
from walkaround.io.atomic import atomic_path
from walkaround.types import View


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of both tables' kinds."""

    name: str
    sql: str
    """DuckDB's type."""
    text: str
    """What it holds."""


_PLACE = (
    Column(name="class_label", sql="VARCHAR", text="Folder of the class."),
    Column(name="class_name", sql="VARCHAR", text="Name of the class; null when only the label is known."),
    Column(name="instance_id", sql="VARCHAR", text="The object, unique in its class."),
)
FRAME_COLUMNS = (
    *_PLACE,
    Column(name="image_path", sql="VARCHAR", text="Image file, from the dataset's folder."),
    Column(name="mask_path", sql="VARCHAR", text="Object mask, from the dataset's folder, or null."),
    Column(name="depth_path", sql="VARCHAR", text="16-bit depth map, from the dataset's folder, or null."),
    Column(name="depth_scale", sql="DOUBLE", text="Units of the world a step of the depth map."),
    Column(name="frame_index", sql="INTEGER", text="Position in the sequence, from 1."),
    Column(name="timestamp_s", sql="DOUBLE", text="Time in the video, or null."),
    Column(name="width", sql="INTEGER", text="Of the image its camera is for; null without a camera."),
    Column(name="height", sql="INTEGER", text="Of the image its camera is for; null without a camera."),
    Column(name="camera_model", sql="VARCHAR", text="COLMAP's name of the model; null without a camera."),
    Column(name="camera_params", sql="DOUBLE[]", text="Parameters in COLMAP's order, pixels."),
    Column(name="cam_from_world", sql="DOUBLE[]", text="4x4 matrix by rows, OpenCV's camera axes."),
)
SCENE_COLUMNS = (
    *_PLACE,
    Column(name="split", sql="VARCHAR", text="train, val or test; null when the dataset is not divided."),
    Column(name="status", sql="VARCHAR", text="accepted or rejected; null for scenes of other datasets."),
    Column(name="num_images", sql="INTEGER", text="Images."),
    Column(name="num_registered", sql="INTEGER", text="Images with a camera."),
    Column(name="cloud_path", sql="VARCHAR", text="Point cloud, from the dataset's folder, or null."),
    Column(name="licence", sql="VARCHAR", text="Of this scene; null is the dataset's."),
    Column(name="scores", sql="VARCHAR", text="JSON object of the scores of the build."),
)


def scene_row(scene: Scene, split: str | None) -> dict[str, Any]:
    """Return the row of a scene."""
    record = scene.record
    clouds = [name for name in ("cloud.ply", "cloud.pcd") if scene.files.size(name) is not None]
    return {
        **_place(scene),
        "split": split,
        "status": None if record is None else record.status,
        "num_images": len(scene.image_names),
        "num_registered": len(scene.views),
        "cloud_path": f"{scene.key}/{clouds[0]}" if clouds else None,
        "licence": None if record is None else record.licence,
        "scores": json.dumps(record.scores if record is not None else {}),
    }


def frame_rows(scene: Scene) -> list[dict[str, Any]]:
    """Return the rows of a scene's images, with or without cameras, in their order."""
    views = {view.frame.image: view for view in scene.views}
    present = set(scene.image_names)
    rows = []
    for frame in scene.frames:
        if frame.image not in present:
            continue
        mask, depth = scene.mask_name(frame.image), f"depth/{Path(frame.image).stem}.png"
        has_depth = scene.record is not None and scene.files.size(depth) is not None
        rows.append(
            {
                **_place(scene),
                "image_path": f"{scene.key}/images/{frame.image}",
                "mask_path": f"{scene.key}/masks/{mask}" if mask is not None else None,
                "depth_path": f"{scene.key}/{depth}" if has_depth else None,
                "depth_scale": scene.record.depth_scale if scene.record is not None else None,
                "frame_index": frame.index,
                "timestamp_s": frame.timestamp_s,
                **_camera(views.get(frame.image)),
            }
        )
    return rows


def write_parquet(
    path: Path,
    rows: Iterable[Mapping[str, Any]],
    columns: Mapping[str, str],
) -> None:
    """Write a Parquet file, atomically; equal rows give equal bytes.

    Parameters
    ----------
    columns
        Name -> DuckDB's type.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    listed = ", ".join(f'"{name}" {kind}' for name, kind in columns.items())
    marks = ", ".join(f"CAST(${number} AS {kind})" for number, kind in enumerate(columns.values(), 1))
    with connect() as database, atomic_path(path) as temporary:
        database.execute(f"CREATE TABLE rows ({listed})")
        for row in rows:
            database.execute(f"INSERT INTO rows SELECT {marks}", [row[name] for name in columns])
        place = str(temporary).replace("'", "''")
        try:
            database.execute(f"COPY rows TO '{place}' (FORMAT parquet, COMPRESSION zstd)")
        except (OSError, RuntimeError) as error:
            raise OutputError(f"{path} could not be written: {first_line(error)}") from error


def _place(scene: Scene) -> dict[str, Any]:
    return {
        "class_label": scene.class_label,
        "class_name": scene.class_name,
        "instance_id": scene.instance_id,
    }


def _camera(view: View | None) -> dict[str, Any]:
    if view is None:
        names = ("width", "height", "camera_model", "camera_params", "cam_from_world")
        return dict.fromkeys(names)
    return {
        "width": view.camera.width,
        "height": view.camera.height,
        "camera_model": view.camera.model,
        "camera_params": list(view.camera.params),
        "cam_from_world": view.cam_from_world.ravel().tolist(),
    }
