"""Draw what each stage makes of a capture, for the documentation.

``python docs/images/make_stages.py stages SEQUENCE OUT_DIR`` draws cameras, depth, masks, cloud, and all
of them in one picture; ``frames VIDEO SEQUENCE OUT_DIR`` draws which frames of a video were kept.
docs/pictures.md says of which captures, and under which licences.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np

from walkaround.dataset.readers.place import open_folder
from walkaround.dataset.readers.scene import Scene
from walkaround.dataset.schema import read_record
from walkaround.frames.measure import focus
from walkaround.geometry import project
from walkaround.io.image import write_jpeg
from walkaround.io.video import VideoReader
from walkaround.quality import pictures
from walkaround.types import ByteArray, Camera, FloatArray, SparseModel, View

PAPER = (246, 246, 244)
INK = (52, 52, 60)
SOFT = (170, 170, 178)
ACCENT = (214, 84, 30)
LINE = (40, 74, 120)
TILE = 292
GAP = 10


def main(kind: str, *arguments: str) -> None:
    """Draw one set of pictures."""
    if kind == "frames":
        video, sequence, out = map(Path, arguments)
        write(out / "stage_frames.jpg", draw_frames(video, sequence))
        return
    sequence, out = map(Path, arguments)
    scene = open_folder(sequence)
    rows = {"cameras": draw_cameras(scene, (1200, 620)), "depth": row(depth_tiles(sequence, 4))}
    rows |= {"masks": row(mask_tiles(sequence, 4)), "cloud": row(cloud_tiles(scene, 4))}
    for name, picture in rows.items():
        write(out / f"stage_{name}.jpg", picture)
    write(out / "in_and_out.jpg", draw_in_and_out(scene, sequence))


def write(path: Path, image_srgb: ByteArray) -> None:
    """Write a JPEG with a margin."""
    framed = cv2.copyMakeBorder(image_srgb, GAP, GAP, GAP, GAP, cv2.BORDER_CONSTANT, value=PAPER)
    write_jpeg(path, np.ascontiguousarray(framed), quality=80)


def row(tiles: list[ByteArray]) -> ByteArray:
    """Set tiles of one height beside each other."""
    height = tiles[0].shape[0]
    between = np.full((height, GAP, 3), PAPER, np.uint8)
    parts = [part for tile in tiles for part in (tile, between)]
    return np.concatenate(parts[:-1], axis=1)


def chosen(sequence: Path, count: int) -> list[str]:
    """Return the names, without ending, of stills spread evenly over the walk."""
    names = [frame.image for frame in read_record(sequence).frames if frame.registered]
    places = (np.arange(count) + 0.5) * len(names) / count
    return [Path(names[int(place)]).stem for place in places]


def still_path(sequence: Path, stem: str) -> Path:
    """Return the file of a still."""
    return next((sequence / "images").glob(f"{stem}.*"))


def photo_tiles(sequence: Path, count: int, width: int = TILE) -> list[ByteArray]:
    """Return stills as they are."""
    paths = [still_path(sequence, stem) for stem in chosen(sequence, count)]
    return [pictures.shrink(rgb(cv2.imread(str(path))), width) for path in paths]


def mask_tiles(sequence: Path, count: int, width: int = TILE) -> list[ByteArray]:
    """Return stills with their masks' outlines, the rest darkened."""
    tiles = []
    for stem in chosen(sequence, count):
        mask_path = sequence / "masks" / f"{stem}.png"
        tile = pictures.still(still_path(sequence, stem), mask_path, width)
        mask = cv2.imread(str(mask_path), cv2.IMREAD_GRAYSCALE)
        inside = cv2.resize(mask, (tile.shape[1], tile.shape[0]), interpolation=cv2.INTER_AREA) > 127
        tiles.append(rgb(np.where(inside[..., None], tile, tile // 3)))
    return tiles


def depth_tiles(sequence: Path, count: int, width: int = TILE) -> list[ByteArray]:
    """Return coloured depth maps: near red, far blue, grey where there is none."""
    scale = read_record(sequence).depth_scale
    maps = [
        pictures.read_depth(sequence / "depth" / f"{stem}.png", scale, width)
        for stem in chosen(sequence, count)
    ]
    limits = pictures.inverse_depth_range(maps)
    return [rgb(pictures.coloured_depth(depth, limits)) for depth in maps]


def cloud_tiles(scene: Scene, count: int, size: int = TILE) -> list[ByteArray]:
    """Return the cloud seen from all around."""
    return [
        rgb(side)
        for side in pictures.cloud_sides(scene.read_cloud(), np.arange(count) * 360 / count, size=size)
    ]


def rgb(image_bgr: ByteArray) -> ByteArray:
    """Swap OpenCV's channels."""
    return np.ascontiguousarray(image_bgr[..., ::-1])


# The sparse model and the cameras, in perspective.


def draw_cameras(scene: Scene, size_wh: tuple[int, int]) -> ByteArray:
    """Draw the sparse points, and each camera as a frustum that holds its image."""
    model = scene.read_sparse()
    eye = onlooker(model, size_wh)
    canvas = np.full((size_wh[1], size_wh[0], 3), PAPER, np.uint8)
    views = sorted(model.views, key=lambda view: -(eye.cam_from_world[2, :3] @ view.centre))
    behind = [view for view in views if eye.cam_from_world[2, :3] @ view.centre > 0]
    for view in behind:
        draw_frustum(canvas, eye, view, scene)
    draw_points(canvas, eye, model)
    for view in views[len(behind) :]:
        draw_frustum(canvas, eye, view, scene)
    return canvas


def onlooker(model: SparseModel, size_wh: tuple[int, int]) -> View:
    """Return a camera outside of the walk and above it, such that all cameras fill the picture."""
    azimuth, elevation, away = np.radians(20), np.radians(20), 4.0
    centre = away * np.array(
        [np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.sin(elevation)]
    )
    forward = -centre / np.linalg.norm(centre)
    right = np.cross(forward, [0, 0, 1])
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(forward, right), forward])
    pose[:3, 3] = -pose[:3, :3] @ centre
    shown = np.array([1.08 * view.centre for view in model.views] + [[0, 0, -0.2]])
    rays = (shown - centre) @ pose[:3, :3].T
    low, high = (rays[:, :2] / rays[:, 2:]).min(axis=0), (rays[:, :2] / rays[:, 2:]).max(axis=0)
    focal = float(0.94 * min(size_wh / (high - low)))
    cx, cy = np.array(size_wh) / 2 - focal * (low + high) / 2
    params = (focal, float(cx), float(cy))
    camera = Camera(model="SIMPLE_PINHOLE", width=size_wh[0], height=size_wh[1], params=params)
    return View(frame=model.views[0].frame, camera=camera, cam_from_world=pose)


def nearby(model: SparseModel) -> tuple[FloatArray, ByteArray]:
    """Return the sparse points around the object, and their colours."""
    near = np.linalg.norm(model.points_in_world, axis=1) < 0.7
    return model.points_in_world[near], model.colors[near]


def seen(eye: View, points_in_world: FloatArray) -> FloatArray:  # (N, 2)
    """Return where the onlooker sees points."""
    rotation, shift = eye.cam_from_world[:3, :3], eye.cam_from_world[:3, 3]
    return project(eye.camera, points_in_world @ rotation.T + shift)


def draw_points(canvas: ByteArray, eye: View, model: SparseModel) -> None:
    """Draw the sparse points around the object, the far ones first."""
    points, colors = nearby(model)
    order = np.argsort(-(points @ eye.cam_from_world[2, :3]))
    places = seen(eye, points[order])
    for place, color in zip(places, colors[order], strict=True):
        cv2.circle(canvas, tuple(int(v * 8) for v in place), 11, color.tolist(), -1, cv2.LINE_AA, shift=3)


def draw_frustum(canvas: ByteArray, eye: View, view: View, scene: Scene, length: float = 0.26) -> None:
    """Draw one camera: its image, and the lines from its centre to the image's corners."""
    camera = view.camera
    corners_px = np.array(
        [[0, 0], [camera.width, 0], [camera.width, camera.height], [0, camera.height]], float
    )
    rays = np.column_stack([(corners_px - camera.K[:2, 2]) / np.diag(camera.K)[:2], np.ones(4)])
    world = (length * rays - view.cam_from_world[:3, 3]) @ view.cam_from_world[:3, :3]
    corners = seen(eye, world).astype(np.float32)
    apex = seen(eye, view.centre[None])[0]
    image = pictures.shrink(scene.read_image(view.frame.image), 320)
    height, width = image.shape[:2]
    flat = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    homography = cv2.getPerspectiveTransform(flat, corners)
    size = (canvas.shape[1], canvas.shape[0])
    warped = cv2.warpPerspective(image, homography, size, flags=cv2.INTER_AREA)
    alpha = cv2.warpPerspective(np.full((height, width), 235, np.uint8), homography, size)[..., None] / 255.0
    canvas[:] = (alpha * warped + (1 - alpha) * canvas).astype(np.uint8)
    for corner in corners:
        cv2.line(canvas, whole(apex), whole(corner), LINE, 1, cv2.LINE_AA)
    cv2.polylines(canvas, [np.round(corners).astype(np.int32)], True, LINE, 1, cv2.LINE_AA)


def whole(place: FloatArray) -> tuple[int, int]:
    """Round to a pixel."""
    return round(float(place[0])), round(float(place[1]))


# Everything in one picture: what goes in, what comes out.


def draw_in_and_out(scene: Scene, sequence: Path) -> ByteArray:
    """Draw six stills, an arrow, and cameras, depth, masks, cloud."""
    small, height = 186, 560
    photos = photo_tiles(sequence, 8, small)
    left = grid(photos, columns=2)
    left = cv2.resize(
        left, (round(left.shape[1] * height / left.shape[0]), height), interpolation=cv2.INTER_AREA
    )
    half = (height - GAP) // 2
    tiles = [fitted(draw_cameras(scene, (840, 560)), half), fitted(depth_tiles(sequence, 4, 480)[0], half)]
    tiles += [fitted(mask_tiles(sequence, 4, 480)[1], half), fitted(cloud_tiles(scene, 4, half * 2)[0], half)]
    right = fitted(grid(tiles, columns=2), height)
    arrow = np.full((height, 110, 3), PAPER, np.uint8)
    middle = height // 2
    cv2.arrowedLine(arrow, (16, middle), (92, middle), ACCENT, 6, cv2.LINE_AA, tipLength=0.4)
    return np.concatenate([left, arrow, right], axis=1)


def fitted(image: ByteArray, height: int) -> ByteArray:
    """Shrink to a height, cut to 3:2 about the middle."""
    width = round(height * 1.5)
    scale = max(width / image.shape[1], height / image.shape[0])
    sized = cv2.resize(
        image, (round(image.shape[1] * scale), round(image.shape[0] * scale)), interpolation=cv2.INTER_AREA
    )
    top, left = (sized.shape[0] - height) // 2, (sized.shape[1] - width) // 2
    return np.ascontiguousarray(sized[top : top + height, left : left + width])


def grid(tiles: list[ByteArray], columns: int) -> ByteArray:
    """Set equal tiles in rows."""
    rows = [row(tiles[start : start + columns]) for start in range(0, len(tiles), columns)]
    between = np.full((GAP, rows[0].shape[1], 3), PAPER, np.uint8)
    parts = [part for line in rows for part in (line, between)]
    return np.concatenate(parts[:-1], axis=0)


# Which frames of a video are kept.


def draw_frames(video: Path, sequence: Path) -> ByteArray:
    """Draw the sharpness of every frame over time, those that were kept, and eight of them."""
    kept = {frame.source_index: frame for frame in read_record(sequence).frames}
    times, levels, thumbnails = [], [], []
    show = sorted(kept)[:: max(1, len(kept) // 8)][:8]
    with VideoReader(video) as reader:
        for frame in reader.frames():
            times.append(frame.timestamp_s)
            levels.append(focus(frame.luma(320)))
            if frame.source_index in show:
                thumbnails.append(frame.image_srgb(320))
    tiles = [pictures.shrink(tile, 142) for tile in thumbnails]
    chart = draw_chart(np.array(times), np.array(levels), sorted(kept), show)
    strip = row(tiles)
    wide = np.full((strip.shape[0], chart.shape[1], 3), PAPER, np.uint8)
    wide[:, : strip.shape[1]] = strip[:, : chart.shape[1]]
    return np.concatenate([chart, wide], axis=0)


def draw_chart(times_s: FloatArray, levels: FloatArray, kept: list[int], show: list[int]) -> ByteArray:
    """Draw the curve of sharpness with a dot for each kept frame."""
    width, height, margin = 1206, 260, 34
    canvas = np.full((height, width, 3), PAPER, np.uint8)
    level = (levels - levels.min()) / (np.ptp(levels) + 1e-9)
    x = margin + (width - 2 * margin) * times_s / times_s[-1]
    y = height - 46 - (height - 90) * level
    curve = np.column_stack([x, y]).round().astype(np.int32)
    cv2.polylines(canvas, [curve], False, SOFT, 2, cv2.LINE_AA)
    for index in kept:
        dot = tuple(int(v) for v in curve[index])
        cv2.circle(canvas, dot, 7 if index in show else 5, ACCENT, -1, cv2.LINE_AA)
    for second in range(0, int(times_s[-1]) + 1, 2):
        place = (int(margin + (width - 2 * margin) * second / times_s[-1]) - 8, height - 14)
        cv2.putText(canvas, f"{second} s", place, cv2.FONT_HERSHEY_SIMPLEX, 0.45, INK, 1, cv2.LINE_AA)
    label = "sharpness of every frame; dots: the frames that are kept, the large ones are shown below"
    cv2.putText(canvas, label, (margin, 24), cv2.FONT_HERSHEY_SIMPLEX, 0.5, INK, 1, cv2.LINE_AA)
    return canvas


if __name__ == "__main__":
    main(*sys.argv[1:])
