"""What the viewer's own pages ask for about the scene that is open: frames, images, pairs. JSON and JPEG."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from walkaround.errors import UsageError
from walkaround.io.image import encode_jpeg
from walkaround.types import View
from walkaround.viewer.clouds import Level
from walkaround.viewer.content import Content
from walkaround.viewer.gateway import Response
from walkaround.viewer.pairs import epipolar_curve, good_partner, match
from walkaround.viewer.pictures import laid_over
from walkaround.viewer.poster import MAX_PX, draw_poster

_MAX_MATCHES = 3000


def as_json(value: Any, *, status: int = 200) -> Response:
    """Return a value as a response."""
    body = json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    return Response(body=body, content_type="application/json; charset=utf-8", status=status)


def describe_scene(content: Content) -> Response:
    """Say what the open scene is and which frames it has."""
    frames = [{"image": frame.image, "camera": frame.image in content.view_of} for frame in content.frames]
    return as_json({"title": content.title, "key": content.scene.key, "frames": frames})


def send_image(content: Content, query: Mapping[str, str]) -> Response:
    """Send a frame at the size it is shown at, with mask and depth at their opacities."""
    picture = content.picture(_image(content, query, "image"))
    painted = laid_over(picture, mask_opacity=_share(query, "mask"), depth_opacity=_share(query, "depth"))
    return Response(body=encode_jpeg(painted, 90), content_type="image/jpeg")


def send_poster(content: Content, level: Level | None, query: Mapping[str, str]) -> Response:
    """Send a first picture of the scene, as large as the 3-D view."""
    width, height = (int(min(max(_number(query, side), 16), MAX_PX)) for side in ("width", "height"))
    picture = draw_poster(content, level, (width, height), dark=query.get("dark") == "1")
    return Response(body=encode_jpeg(picture, 85), content_type="image/jpeg")


def describe_pair(content: Content, query: Mapping[str, str]) -> Response:
    """Say what two frames both see; without the second, with a good partner of the first.

    Matches are [x, y in the first, x, y in the second, residual], pixels of the cameras.
    """
    first_name = _image(content, query, "a")
    second_name = query.get("b") or good_partner(first_name, content.observations) or first_name
    views = content.view_of
    answer: dict[str, Any] = {"a": first_name, "b": _image(content, {"b": second_name}, "b"), "matches": []}
    for side, name in (("a", first_name), ("b", second_name)):
        width, height = content.size_wh(name)
        answer[f"size_{side}"] = [width, height]
    if first_name in views and second_name in views:
        found = match(views[first_name], views[second_name], content.observations, content.around.centre)
        table = np.column_stack([found.first_px, found.second_px, found.residual_px])
        answer["angle_deg"] = round(found.angle_deg, 2)
        answer["num_matches"] = len(table)
        answer["residual_px"] = round(float(np.median(found.residual_px)), 3) if len(table) else None
        step = max(-(-len(table) // _MAX_MATCHES), 1)
        answer["matches"] = np.round(table[::step], 2).tolist()
    return as_json(answer)


def send_curve(content: Content, query: Mapping[str, str]) -> Response:
    """Send the epipolar curve in frame ``b`` of a pixel of frame ``a``."""
    first, second = (_view(content, query, side) for side in ("a", "b"))
    pixel = np.array([_number(query, "x"), _number(query, "y")])
    curve = epipolar_curve(first, second, pixel, content.around.centre)
    return as_json(np.round(curve, 1).tolist())


def _image(content: Content, query: Mapping[str, str], name: str) -> str:
    image = query.get(name, "")
    if image not in {frame.image for frame in content.frames}:
        raise UsageError(f"{name}={image!r:.80} is no frame of {content.title}.")
    return image


def _view(content: Content, query: Mapping[str, str], name: str) -> View:
    image = _image(content, query, name)
    if image not in content.view_of:
        raise UsageError(f"{image} has no camera.")
    return content.view_of[image]


def _share(query: Mapping[str, str], name: str) -> float:
    return min(max(_number(query, name, 0.0), 0.0), 1.0)


def _number(query: Mapping[str, str], name: str, default: float = math.nan) -> float:
    try:
        value = float(query.get(name, default))
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UsageError(f"{name}={query.get(name)!r:.80} is no number.")
    return value
