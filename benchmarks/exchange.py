"""Let other packages read an export and compare where their cameras put points with ours.

    python benchmarks/exchange.py dataset/mug/3f9a0c51d2e7

nerfstudio (its dataparser and its rays), PyTorch3D (Implicitron's JsonIndexDataset and its cameras) and
pycolmap are asked if they are installed. Both of the first compute in single precision.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from walkaround.dataset.exchange.export import export_scenes
from walkaround.dataset.exchange.options import ExportOptions
from walkaround.dataset.exchange.undistort import pinhole
from walkaround.dataset.readers import Scene
from walkaround.dataset.readers.place import open_folder
from walkaround.geometry import project, transform_points

POINTS = np.random.default_rng(0).uniform(-0.2, 0.2, (50, 3))


def nerfstudio(scene: Scene, source: Path, out: Path) -> float:
    """Points along the rays of pixels must fall on these pixels; distortion included."""
    import torch
    from nerfstudio.data.dataparsers.nerfstudio_dataparser import NerfstudioDataParserConfig

    export_scenes(source, out, "nerfstudio")
    config = NerfstudioDataParserConfig(
        data=out, orientation_method="none", center_method="none", auto_scale_poses=False, eval_mode="all",
        load_3D_points=False, downscale_factor=1,
    )  # fmt: skip
    found = config.setup().get_dataparser_outputs("train")
    worst = 0.0
    for number, (view, path) in enumerate(zip(scene.views, found.image_filenames, strict=True)):
        assert path.name == view.frame.image
        share = np.array([[0.05, 0.1], [0.5, 0.5], [0.8, 0.95], [0.9, 0.05]])
        pixels_yx = (share * (view.camera.height, view.camera.width)).astype(np.float32)
        rays = found.cameras.generate_rays(camera_indices=number, coords=torch.tensor(pixels_yx))
        points = (rays.origins + 0.9 * rays.directions).double().numpy()
        back = project(view.camera, transform_points(view.cam_from_world, points))
        worst = max(worst, float(np.abs(back - pixels_yx[:, ::-1]).max()))
    return worst


def pytorch3d(scene: Scene, source: Path, out: Path) -> float:
    """Both intrinsics formats; the depth and masks that it reads must be ours too."""
    import torch
    from pytorch3d.implicitron.dataset.json_index_dataset import JsonIndexDataset

    worst = 0.0
    for ndc in ("isotropic", "norm_image_bounds"):
        root = out / ndc
        export_scenes(source, root, "co3d", options=ExportOptions(ndc=ndc))
        dataset = JsonIndexDataset(
            frame_annotations_file=str(root / scene.class_label / "frame_annotations.jgz"),
            sequence_annotations_file=str(root / scene.class_label / "sequence_annotations.jgz"),
            dataset_root=str(root), image_height=None, image_width=None, box_crop=False, mask_depths=False,
        )  # fmt: skip
        for number, view in enumerate(scene.views):
            frame, camera = dataset[number], pinhole(view.camera)
            size = torch.tensor([[camera.height, camera.width]])
            points = torch.tensor(POINTS, dtype=torch.float32)[None]
            theirs = frame.camera.transform_points_screen(points, image_size=size)[0, :, :2].numpy()
            mine = project(camera, transform_points(view.cam_from_world, POINTS))
            worst = max(worst, float(np.abs(theirs - mine).max()))
    return worst


def pycolmap(scene: Scene, source: Path, out: Path) -> float:
    """The text model: its own projection of points."""
    from walkaround.io.colmap import load_pycolmap

    export_scenes(source, out, "colmap-text")
    model = load_pycolmap().Reconstruction(str(out / "sparse" / "0"))
    by_name = {image.name: image for image in model.images.values()}
    worst = 0.0
    for view in scene.views:
        theirs = np.array([by_name[view.frame.image].project_point(point) for point in POINTS])
        mine = project(view.camera, transform_points(view.cam_from_world, POINTS))
        worst = max(worst, float(np.abs(theirs - mine).max()))
    return worst


PEERS: dict[str, Callable[[Scene, Path, Path], float]] = {
    "nerfstudio": nerfstudio,
    "pytorch3d": pytorch3d,
    "pycolmap": pycolmap,
}


def main() -> None:
    """Ask every package that is there."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "scene", type=Path, help="the folder of one sequence, or class/instance of a download"
    )
    source = parser.parse_args().scene
    scene = open_folder(source)
    for name, ask in PEERS.items():
        with tempfile.TemporaryDirectory(prefix="walkaround-exchange-") as scratch:
            try:
                print(f"{name:<12} worst difference {ask(scene, source, Path(scratch)):.2g} px")
            except ImportError as error:
                print(f"{name:<12} not installed ({error})")


if __name__ == "__main__":
    main()
