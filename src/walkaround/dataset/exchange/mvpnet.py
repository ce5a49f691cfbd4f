"""MVPNet's layout: one cloud an object, ``<class>/<instance>.pcd`` (arXiv:2303.06042)."""

from __future__ import annotations

from pathlib import Path

from walkaround.dataset.exchange.base import Exporter
from walkaround.dataset.readers import Scene
from walkaround.errors import FormatError
from walkaround.io.pointcloud import write_pcd


class MvpnetExporter(Exporter):
    """Binary PCD with x y z, normals and rgb."""

    one_dataset = True
    needs_cameras = False

    def add(self, scene: Scene, folder: Path) -> None:
        cloud = scene.read_cloud()
        if cloud is None:
            raise FormatError(f"{scene.key} has no cloud. Build the scene to its end first.")
        write_pcd(folder.with_name(f"{folder.name}.pcd"), cloud)
