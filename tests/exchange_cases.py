"""What the tests of exports and imports share: random views, captures from the shared data, projections."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from walkaround.dataset.exchange.options import ImportOptions
from walkaround.dataset.readers import Scene
from walkaround.dataset.readers.files import FolderFiles
from walkaround.geometry import project, transform_points
from walkaround.importing import import_sequence
from walkaround.pipeline import BuildOptions
from walkaround.types import Camera, FloatArray, Frame, View

POINTS = np.random.default_rng(5).uniform(-0.3, 0.3, (40, 3))
"""Around the world's origin, which random views look at."""
FRAME = Frame(index=1, image="001.png", source_index=0, timestamp_s=None)


@st.composite
def views(draw: st.DrawFn, *, distorted: bool = True, size_wh: tuple[int, int] | None = None) -> View:
    """Random cameras that look about at the origin from 1 to 20 away, turned any way."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    width, height = size_wh or (draw(st.integers(16, 4000)), draw(st.integers(16, 4000)))
    fx, fy = rng.uniform(0.5, 3, 2) * max(width, height)
    cx, cy = rng.uniform(0.3, 0.7, 2) * (width, height)
    params = [fx, fy, cx, cy]
    if distorted:
        params += list(rng.uniform(-0.1, 0.1, 2)) + list(rng.uniform(-0.01, 0.01, 2))
    camera = Camera(
        model="OPENCV" if distorted else "PINHOLE",
        width=width,
        height=height,
        params=tuple(float(value) for value in params),
    )
    pose = np.eye(4)
    pose[:3, :3] = Rotation.random(random_state=int(rng.integers(2**31))).as_matrix()
    pose[:3, 3] = [*rng.uniform(-0.2, 0.2, 2), rng.uniform(1, 20)]
    return View(frame=FRAME, camera=camera, cam_from_world=pose)


def ours(view: View, points: FloatArray = POINTS) -> FloatArray:
    """Project as this project does."""
    return project(view.camera, transform_points(view.cam_from_world, points))


def distort(x: FloatArray, y: FloatArray, k: Any) -> tuple[FloatArray, FloatArray]:
    """OpenCV's k1 k2 p1 p2, written down again."""
    r2 = x**2 + y**2
    radial = 1 + k[0] * r2 + k[1] * r2**2
    return (
        x * radial + 2 * k[2] * x * y + k[3] * (r2 + 2 * x**2),
        y * radial + k[2] * (r2 + 2 * y**2) + 2 * k[3] * x * y,
    )


def by_transforms(values: dict[str, Any], matrix: Any, points: FloatArray = POINTS) -> FloatArray:
    """Project as nerfstudio documents it: x right, y up, looking along -z; pixel corners at integers."""
    local = (points - np.array(matrix)[:3, 3]) @ np.array(matrix)[:3, :3]
    x, y = distort(
        local[:, 0] / -local[:, 2], -local[:, 1] / -local[:, 2], [values[n] for n in ("k1", "k2", "p1", "p2")]
    )
    return np.stack([values["fl_x"] * x + values["cx"], values["fl_y"] * y + values["cy"]], axis=1)


def by_pytorch3d(
    viewpoint: dict[str, Any], size_wh: tuple[int, int], points: FloatArray = POINTS
) -> FloatArray:
    """Project as PyTorch3D documents it: rows, x left, y up, NDC +1 at the left and upper edge."""
    local = points @ np.array(viewpoint["R"]) + np.array(viewpoint["T"])
    ndc = np.array(viewpoint["focal_length"]) * local[:, :2] / local[:, 2:] + viewpoint["principal_point"]
    half = np.array(size_wh) / 2
    scale = half.min() if viewpoint["intrinsics_format"] == "ndc_isotropic" else half
    return half - ndc * scale


def by_llff(row: FloatArray, points: FloatArray = POINTS) -> FloatArray:
    """Project as LLFF documents it: columns down, right, backwards, centre, (height, width, focal)."""
    down, right, back, centre, (height, width, focal) = row[:15].reshape(3, 5).T
    offset = points - centre
    depth = -offset @ back
    return np.stack(
        [focal * (offset @ right) / depth + width / 2, focal * (offset @ down) / depth + height / 2], axis=1
    )


def by_mvsnet(text: str, points: FloatArray = POINTS) -> FloatArray:
    """Project as MVSNet documents it: extrinsic and intrinsic of a ``_cam.txt``."""
    words = text.split()
    extrinsic = np.array(words[1:17], dtype=float).reshape(4, 4)
    assert words[0] == "extrinsic" and words[17] == "intrinsic"
    intrinsic = np.array(words[18:27], dtype=float).reshape(3, 3)
    local = (extrinsic @ np.c_[points, np.ones(len(points))].T)[:3]
    pixels = intrinsic @ local
    return (pixels[:2] / pixels[2]).T


def scene_at(folder: Path) -> Scene:
    """Open the folder of a sequence."""
    return Scene(class_label=folder.parent.name, instance_id=folder.name, files=FolderFiles(folder))


def imported(source: Path, root: Path, name: str, *, world: str = "keep", **options: Any) -> Scene:
    """Import a source into its own world and open the sequence."""
    import_sequence(
        source,
        root,
        options=ImportOptions(world=world, **options),  # type: ignore[arg-type]
        build=BuildOptions(class_label="thing", instance_id=name, threads=1),
    )
    return scene_at(root / "thing" / name)


def skull(test_data: Path, folder: Path) -> Path:
    """Every seventh photo of the skull with its reference cameras (SIMPLE_RADIAL)."""
    source = test_data / "captures" / "skull"
    record = json.loads((source / "reference.json").read_text())
    record["frames"] = record["frames"][::7]
    folder.mkdir(parents=True)
    for frame in record["frames"]:
        shutil.copy(source / frame["image"], folder / frame["image"])
    (folder / "reference.json").write_text(json.dumps(record))
    return folder


def bunny(test_data: Path, folder: Path) -> Path:
    """Every third frame of the bunny with its truth and masks."""
    source = test_data / "truth" / "bunny"
    record = json.loads((source / "cameras.json").read_text())
    record["frames"] = record["frames"][::3]
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
        for frame in record["frames"]:
            shutil.copy(source / part / frame["image"], folder / part / frame["image"])
    (folder / "cameras.json").write_text(json.dumps(record))
    return folder


def plant_cameras(test_data: Path) -> dict[str, tuple[FloatArray, FloatArray]]:
    """Image name -> K and cam_from_world (3x4) of the virtual plant."""
    out = {}
    for path in sorted((test_data / "truth" / "virtual_plant" / "metadata" / "images").glob("*_rgb.json")):
        camera = json.loads(path.read_text())["camera"]
        fx, fy, cx, cy = camera["camera_model"]["params"][:4]
        u, _, vt = np.linalg.svd(camera["rotmat"])  # the files hold single precision
        pose = np.c_[u @ vt, camera["tvec"]]
        out[f"{path.stem}.png"] = (np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]]), pose)
    return out


def tiny_image(path: Path, size_wh: tuple[int, int], seed: int = 0) -> None:
    """Write a small PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    cv2.imwrite(str(path), rng.integers(0, 255, (size_wh[1], size_wh[0], 3)).astype(np.uint8))
