"""Distances between a cloud and a true surface, and which part of the surface the cameras see."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import trimesh
from scipy.spatial import cKDTree

from walkaround.quality.truth import TruthFrame
from walkaround.types import BoolArray, FloatArray, IntArray

_SAMPLES = 200_000
_MAX_CLOUD = 300_000


@dataclass(frozen=True, kw_only=True)
class Surface:
    """A true mesh with samples spread evenly over its area."""

    mesh: trimesh.Trimesh
    samples: FloatArray  # (S, 3)
    faces: IntArray  # (S,) face of each sample
    diagonal: float

    @property
    def reach(self) -> float:
        """Distances beyond this twentieth of the diagonal are not measured."""
        return 0.05 * self.diagonal

    @classmethod
    def of(cls, vertices: FloatArray, faces: IntArray) -> Surface:
        """Sample a mesh; the same mesh gives the same samples."""
        mesh = trimesh.Trimesh(vertices, faces, process=False)
        samples, index = trimesh.sample.sample_surface(mesh, _SAMPLES, seed=0)
        low, high = vertices[faces].min(axis=(0, 1)), vertices[faces].max(axis=(0, 1))
        return cls(
            mesh=mesh,
            samples=np.asarray(samples),
            faces=np.asarray(index),
            diagonal=float(np.linalg.norm(high - low)),
        )

    def distances(self, points: FloatArray) -> FloatArray:
        """(N,) distance of points to the surface: exact to the triangles of the nearest samples.

        Infinite beyond :attr:`reach`: looking for the nearest of many far samples takes minutes.
        """
        if len(points) > _MAX_CLOUD:
            pick = np.random.default_rng(0).choice(len(points), _MAX_CLOUD, replace=False)
            points = points[np.sort(pick)]
        best, nearest = cKDTree(self.samples).query(points, k=4, distance_upper_bound=self.reach)
        out = np.full(len(points), np.inf)
        near = np.isfinite(best).all(axis=1)
        points, nearest, best = points[near], nearest[near], best[near, 0]
        triangles = np.asarray(self.mesh.triangles)
        for k in range(nearest.shape[1]):
            corners = triangles[self.faces[nearest[:, k]]]
            close = trimesh.triangles.closest_point(corners, points)
            best = np.minimum(best, np.linalg.norm(close - points, axis=1))
        out[near] = best
        return out

    def seen(self, frames: list[TruthFrame], sizes_wh: list[tuple[int, int] | None]) -> BoolArray:
        """(S,) True for the samples that at least two cameras see: in the picture, facing, unhidden."""
        normals = np.asarray(self.mesh.face_normals)[self.faces]
        lifted = self.samples + 1e-5 * self.diagonal * normals
        votes = np.zeros(len(self.samples), dtype=np.int64)
        for frame, size in zip(frames, sizes_wh, strict=True):
            rotation, shift = frame.cam_from_world[:3, :3], frame.cam_from_world[:3, 3]
            centre = -rotation.T @ shift
            ray = centre - lifted
            candidate = (normals * ray).sum(axis=1) > 0.05 * np.linalg.norm(ray, axis=1)
            in_cam = self.samples @ rotation.T + shift
            candidate &= in_cam[:, 2] > 0
            if frame.K is not None and size is not None:
                uv = (in_cam[:, :2] / np.where(candidate, in_cam[:, 2], 1.0)[:, None]) @ frame.K[:2, :2].T
                uv += frame.K[:2, 2]
                candidate &= ((uv >= 0) & (uv < np.array(size))).all(axis=1)
            index = np.flatnonzero(candidate)
            if len(index):
                hidden = self.mesh.ray.intersects_any(lifted[index], ray[index])
                votes[index[~hidden]] += 1
        return votes >= 2
