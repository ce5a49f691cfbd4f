"""Measuring: two clicked points, the line between them, its length."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from walkaround.types import Float32Array, FloatArray
from walkaround.viewer.content import Content
from walkaround.viewer.drawing import ACCENT, triple
from walkaround.viewer.measure import length_text, point_at_ray

if TYPE_CHECKING:
    import viser


class Marks:
    """Points clicked so far, at most two, and what is drawn of them."""

    def __init__(self, server: viser.ViserServer, content: Content | None) -> None:
        self._server = server
        self._content = content
        self._handles: list[Any] = []
        self.points: list[FloatArray] = []

    def add(self, origin: FloatArray, direction: FloatArray) -> str:
        """Take a click by its ray; return what to tell. A third point begins anew."""
        if self._content is None:
            return ""
        point = point_at_ray(self._candidates(self._content), origin, direction)
        if point is None:
            return "no point there"
        if len(self.points) == 2:
            self.clear()
        self.points.append(point)
        self._draw(self._content)
        if len(self.points) == 1:
            return "click the second point"
        return f"**{length_text(*self.points, metric=self._content.metric)}**"

    def clear(self) -> None:
        """Forget the points."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self.points.clear()

    def _candidates(self, content: Content) -> Float32Array:
        if content.cloud is not None and len(content.cloud.points_in_world):
            return content.cloud.points_in_world
        if content.sparse is not None:
            return content.sparse.points_in_world.astype(np.float32)
        return np.empty((0, 3), np.float32)

    def _draw(self, content: Content) -> None:
        scene, radius = self._server.scene, content.around.radius
        number = len(self.points) - 1
        ball = scene.add_icosphere(
            f"/measure/{number}", radius=0.008 * radius, color=ACCENT, position=triple(self.points[-1])
        )
        self._handles.append(ball)
        if number == 1:
            line = np.array([self.points])
            text = length_text(*self.points, metric=content.metric)
            middle = triple((self.points[0] + self.points[1]) / 2)
            self._handles += [
                scene.add_line_segments(
                    "/measure/line", points=line, colors=ACCENT, thickness=3.0, thickness_units="screen"
                ),
                scene.add_label("/measure/length", text, position=middle),
            ]
