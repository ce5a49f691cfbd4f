"""All that is shown of one scene, read when it is wanted and kept."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cached_property, lru_cache
from typing import TypeVar

import numpy as np

from walkaround.dataset.readers.scene import Scene
from walkaround.errors import FormatError
from walkaround.quality.rules import RULES_BY_CODE
from walkaround.types import BoolArray, FloatArray, Frame, IntArray, PointCloud, SparseModel, View
from walkaround.viewer.hull import carve, mesh_of
from walkaround.viewer.lacking import Lacking, find_lacking
from walkaround.viewer.pairs import read_observations
from walkaround.viewer.pictures import Picture, read_picture
from walkaround.viewer.world import Arc, Surroundings, arc_of, surroundings, surroundings_of_points, upright

logger = logging.getLogger(__name__)

_T = TypeVar("_T")
_KEPT_PICTURES = 8


class Content:
    """A scene as the viewer sees it. What is broken or missing is left out and named in :attr:`problems`."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.problems: list[str] = []
        self.decided = ""
        """What a person decided about it, in words; empty when nobody did."""
        self.lacking = self._tried(lambda: find_lacking(scene), Lacking())
        for problem in self.lacking.problems:
            self.note(problem)
        self.picture = lru_cache(maxsize=_KEPT_PICTURES)(self._picture)

    @cached_property
    def frames(self) -> tuple[Frame, ...]:
        return self._tried(lambda: self.scene.frames, ())

    @cached_property
    def views(self) -> tuple[View, ...]:
        return self._tried(lambda: self.scene.views, ())

    @cached_property
    def view_of(self) -> dict[str, View]:
        """Image name -> its view."""
        return {view.frame.image: view for view in self.views}

    @cached_property
    def cloud(self) -> PointCloud | None:
        return self._tried(self.scene.read_cloud, None)

    @cached_property
    def sparse(self) -> SparseModel | None:
        return self._tried(self.scene.read_sparse, None)

    @cached_property
    def observations(self) -> dict[str, tuple[FloatArray, IntArray]]:
        """Image name -> pixels (N, 2) and ids (N,) of the sparse points it sees."""
        return self._tried(lambda: read_observations(self.scene), {})

    def size_wh(self, image: str) -> tuple[int, int]:
        """Return the size that a frame's pixels are counted in: its camera's, else the file's."""
        view = self.view_of.get(image)
        return (view.camera.width, view.camera.height) if view else self.scene.image_size_wh(image)

    @cached_property
    def metric(self) -> bool:
        record = self._tried(lambda: self.scene.record, None)
        return record is not None and record.metric

    @cached_property
    def around(self) -> Surroundings:
        """Where the object is; of a scene with nothing, the unit sphere."""
        if self.views:
            record = self._tried(lambda: self.scene.record, None)
            return surroundings(self.views, None if record is None else record.notes)
        if self.cloud is not None and len(self.cloud.points_in_world):
            return surroundings_of_points(np.asarray(self.cloud.points_in_world, dtype=np.float64))
        return upright(centre=np.zeros(3), radius=1.0)

    @cached_property
    def arc(self) -> Arc | None:
        return arc_of(self.views, self.around) if len(self.views) > 1 else None

    @cached_property
    def has_masks(self) -> bool:
        return any(self.scene.mask_name(image) for image in self.view_of)

    @cached_property
    def solid(self) -> tuple[FloatArray, IntArray] | None:
        """The mask solid as vertices (V, 3) and triangles (F, 3); None without masks or when none is left."""
        if not self.has_masks:
            return None
        low, high = self._box
        masks: list[tuple[View, BoolArray]] = []
        for view in self.views:
            mask = self._tried(lambda image=view.frame.image: self.scene.read_mask(image), None)  # type: ignore[misc]
            if mask is not None:
                masks.append((view, mask))
        cells, size = carve(masks, low, high)
        return mesh_of(cells, low, size) if cells.any() else None

    @property
    def _box(self) -> tuple[FloatArray, FloatArray]:
        """A box around the object: that of its points with a margin, or half the cameras' distance."""
        around = self.around
        if self.cloud is not None and len(self.cloud.points_in_world) > 100:
            low, high = np.percentile(self.cloud.points_in_world, [0.5, 99.5], axis=0).astype(np.float64)
            margin = 0.1 * float((high - low).max())
            return low - margin, high + margin
        return around.centre - 0.5 * around.radius, around.centre + 0.5 * around.radius

    def _picture(self, image: str) -> Picture:
        """Return a frame with mask and depth; FormatError when one of them is broken."""
        return read_picture(self.scene, image)

    @property
    def title(self) -> str:
        """The scene in a line: its class by name, its id."""
        scene = self.scene
        named = scene.class_label if scene.class_name in (None, scene.class_label) else scene.class_name
        return f"{named} / {scene.instance_id}"

    @property
    def summary(self) -> list[str]:
        """Lines for a person: the decision, what the build found and why, frames and cameras, the arc."""
        lines = [self.decided] if self.decided else []
        record = self._tried(lambda: self.scene.record, None)
        if record is not None:
            lines.append(f"the build found: {record.status}")
            for code in record.reasons:
                rule = RULES_BY_CODE.get(code)
                lines.append(f"{code}: {rule.text}" if rule else code)
        lines.append(f"{len(self.frames)} frames, {len(self.views)} with a camera")
        if self.arc is not None:
            lines.append(f"{self.arc.covered_deg:.0f}° of the circle covered")
        return lines

    def caption(self, number: int) -> str:
        """Return what stands below a frame, in Markdown: its name, its time, whether it lacks a camera."""
        frame = self.frames[number]
        said = [frame.image]
        if frame.timestamp_s is not None:
            said.append(f"{frame.timestamp_s:.2f} s")
        if frame.image not in self.view_of:
            said.append("**no camera**")
        return " · ".join(said)

    def note(self, problem: str) -> None:
        """Add to the problems, once."""
        if problem not in self.problems:
            logger.warning("%s", problem)
            self.problems.append(problem)

    def _tried(self, read: Callable[[], _T], otherwise: _T) -> _T:
        try:
            return read()
        except FormatError as error:
            self.note(str(error))
            return otherwise
