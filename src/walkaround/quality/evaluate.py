"""Compare a sequence folder with the truth. Reads files only; shares no estimate with the pipeline."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from walkaround.errors import FormatError
from walkaround.geometry import Similarity, robust_similarity
from walkaround.io.colmap import read_sparse_model
from walkaround.io.image import read_stored
from walkaround.io.pointcloud import read_ply
from walkaround.quality._depth_errors import DepthErrors, depth_errors, depth_rows, resize_nearest
from walkaround.quality._doubts import find_doubts
from walkaround.quality.rules import RULES_BY_CODE
from walkaround.quality.truth import Truth, TruthFrame, read_mesh, read_truth
from walkaround.types import FloatArray, View

CLOUD_THRESHOLDS_PERCENT = (0.25, 0.5, 1.0)


@dataclass(frozen=True, kw_only=True)
class CameraErrors:
    """After one robust similarity of the camera centres (truth from estimate)."""

    num_frames: int
    num_registered: int
    num_compared: int
    """Registered frames that the truth knows."""
    centre_median_percent: float
    """Of the mean distance between the true cameras and the object."""
    centre_worst_percent: float
    rotation_median_deg: float
    rotation_worst_deg: float
    worst_image: str


@dataclass(frozen=True, kw_only=True)
class MaskErrors:
    """Intersection over union with the true masks; a missing mask counts as 0."""

    num_compared: int
    iou_mean: float
    iou_median: float
    iou_worst: float
    worst_image: str


@dataclass(frozen=True, kw_only=True)
class CloudScore:
    """At one threshold."""

    threshold_percent: float
    """Of the diagonal of the object's bounding box."""
    precision: float
    """Share of the cloud's points near the surface."""
    recall: float
    """Share of the surface that at least two cameras see which has a point near."""
    f_score: float


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """How near a sequence came to the truth; None where the truth or the sequence has nothing."""

    cameras: CameraErrors
    masks: MaskErrors | None
    depth: DepthErrors | None
    cloud: tuple[CloudScore, ...] | None
    num_cloud_points: int
    scale: float
    """Truth units a sequence unit."""
    status: str = ""
    """Of the sequence, with its reasons."""
    doubts: tuple[str, ...] = ()
    """Why the truth may be that of something else."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain nested numbers, for JSON."""
        return dataclasses.asdict(self)


@dataclass(frozen=True, kw_only=True)
class _Pair:
    """A frame of the sequence, its camera if it has one, and the truth for it."""

    image: str
    view: View | None
    truth: TruthFrame


def evaluate_sequence(sequence_dir: Path, truth_dir: Path) -> Evaluation:
    """Compare cameras, masks, depth and cloud of a sequence folder with the truth.

    Frames are matched by ``source_index`` (by the time stamp when the truth does not know the index).

    Raises
    ------
    FormatError
        The sequence or the truth is malformed, the sequence was rejected before it had cameras, or fewer
        than three registered frames have a truth.
    """
    truth = read_truth(truth_dir)
    record = _read_record(sequence_dir)
    _check_status(sequence_dir, record)
    views = {view.frame.image: view for view in read_sparse_model(sequence_dir / "sparse" / "0").views}
    pairs = _match(record["frames"], views, truth)
    placed = [pair for pair in pairs if pair.view is not None]
    if len(placed) < 3:
        raise FormatError(
            f"{sequence_dir}: {len(placed)} registered frames match the truth in {truth.folder}; 3 are needed"
            f" to compare. {len(views)} of {len(record['frames'])} frames are registered, and the truth knows"
            f" {len(pairs)} of them. Is it the truth of this capture?"
        )
    estimated = np.array([pair.view.centre for pair in placed if pair.view is not None])
    true = np.array([_centre(pair.truth.cam_from_world) for pair in placed])
    align = robust_similarity(true, estimated)
    cloud, num_points = _cloud(sequence_dir, truth, pairs, align)
    cameras = _cameras(placed, truth, align, len(record["frames"]), len(views))
    masks = _masks(sequence_dir, truth, pairs)
    return Evaluation(
        cameras=cameras,
        masks=masks,
        depth=_depth(sequence_dir, truth, placed, align.scale, record["depth_scale"]),
        cloud=cloud,
        num_cloud_points=num_points,
        scale=align.scale,
        status=" ".join([record["status"], *record["reasons"]]),
        doubts=find_doubts(
            truth,
            views,
            num_frames=len(record["frames"]),
            num_known=len(pairs),
            num_source_frames=record["num_source_frames"],
            cameras=cameras,
            masks=masks,
        ),
    )


def _check_status(sequence_dir: Path, record: dict[str, Any]) -> None:
    """Raise FormatError when the sequence never got cameras, saying why."""
    if any((sequence_dir / "sparse" / "0").glob("images.*")):
        return
    if record["status"] == "rejected":
        rules = [RULES_BY_CODE.get(code) for code in record["reasons"]]
        pairs = zip(record["reasons"], rules, strict=True)
        codes = ", ".join(code for code, rule in pairs if rule is None or rule.verdict == "reject")
        raise FormatError(
            f"{sequence_dir} was rejected ({codes}) before it had cameras, so nothing can be compared."
            f" {record['message']}"
        )
    raise FormatError(f"{sequence_dir} has no cameras yet (sparse/0). Finish its build first.")


def _read_record(sequence_dir: Path) -> dict[str, Any]:
    path = sequence_dir / "sequence.json"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        frames = [
            {
                "image": str(f["image"]),
                "source_index": int(f["source_index"]),
                "timestamp_s": f.get("timestamp_s"),
            }
            for f in record["frames"]
        ]
        return {
            "frames": frames,
            "depth_scale": float(record["depth_scale"]),
            "status": str(record.get("status", "")),
            "reasons": [str(code) for code in record.get("reasons", [])],
            "message": str(record.get("message", "")),
            "num_source_frames": int(record.get("source", {}).get("num_frames") or 0),
        }
    except OSError as error:
        raise FormatError(
            f"{path} cannot be read ({error.strerror}). Pass the folder of one sequence,"
            " ROOT/<class label>/<instance id>."
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FormatError(
            f"{path} is not a readable sequence record ({type(error).__name__}: {error})."
        ) from error


def _match(frames: list[dict[str, Any]], views: dict[str, View], truth: Truth) -> list[_Pair]:
    by_index = {frame.source_index: frame for frame in truth.frames}
    times = [(frame.timestamp_s, frame) for frame in truth.frames if frame.timestamp_s is not None]
    stamps = np.array([time for time, _ in times])
    gap = float(np.median(np.diff(np.sort(stamps)))) if len(stamps) > 1 else 0.0
    pairs = []
    for frame in frames:
        found = by_index.get(frame["source_index"])
        if found is None and len(stamps) and frame["timestamp_s"] is not None:
            nearest = int(np.argmin(np.abs(stamps - frame["timestamp_s"])))
            if abs(stamps[nearest] - frame["timestamp_s"]) <= 0.5 * gap:
                found = times[nearest][1]
        if found is not None:
            pairs.append(_Pair(image=frame["image"], view=views.get(frame["image"]), truth=found))
    return pairs


def _centre(cam_from_world: FloatArray) -> FloatArray:
    return np.asarray(-cam_from_world[:3, :3].T @ cam_from_world[:3, 3])


def _object_centre(truth: Truth) -> FloatArray:
    """Middle of the mesh's box, or the point nearest to all optical axes."""
    if truth.mesh_path is not None:
        vertices, faces = read_mesh(truth.mesh_path)
        used = vertices[np.unique(faces)]
        return np.asarray(0.5 * (used.min(axis=0) + used.max(axis=0)))
    A, b = np.zeros((3, 3)), np.zeros(3)
    for frame in truth.frames:
        axis = frame.cam_from_world[2, :3]
        across = np.eye(3) - np.outer(axis, axis)
        A, b = A + across, b + across @ _centre(frame.cam_from_world)
    return np.asarray(np.linalg.lstsq(A, b, rcond=None)[0])


def _cameras(
    placed: list[_Pair], truth: Truth, align: Similarity, num_frames: int, num_registered: int
) -> CameraErrors:
    centre = _object_centre(truth)
    distance = np.mean([np.linalg.norm(_centre(f.cam_from_world) - centre) for f in truth.frames])
    shifts, turns = [], []
    for pair in placed:
        if pair.view is None:
            continue
        pose = align.apply_pose(pair.view.cam_from_world)
        shifts.append(100 * np.linalg.norm(_centre(pose) - _centre(pair.truth.cam_from_world)) / distance)
        turn = pose[:3, :3] @ pair.truth.cam_from_world[:3, :3].T
        sine = 0.5 * np.linalg.norm(
            [turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]]
        )
        turns.append(np.degrees(np.arctan2(sine, 0.5 * (np.trace(turn) - 1))))
    return CameraErrors(
        num_frames=num_frames,
        num_registered=num_registered,
        num_compared=len(placed),
        centre_median_percent=float(np.median(shifts)),
        centre_worst_percent=float(np.max(shifts)),
        rotation_median_deg=float(np.median(turns)),
        rotation_worst_deg=float(np.max(turns)),
        worst_image=placed[int(np.argmax(shifts))].image,
    )


def _masks(sequence_dir: Path, truth: Truth, pairs: list[_Pair]) -> MaskErrors | None:
    if not (sequence_dir / "masks").is_dir():
        return None
    scores, images = [], []
    for pair in pairs:
        true = truth.mask(pair.truth)
        if true is None:
            continue
        path = sequence_dir / "masks" / f"{Path(pair.image).stem}.png"
        found = read_stored(path, cv2.IMREAD_GRAYSCALE) if path.is_file() else np.zeros((1, 1), np.uint8)
        if found is None:
            raise FormatError(f"{path} is not a readable mask.")
        scores.append(mask_iou(np.asarray(found > 127), true))
        images.append(pair.image)
    if not scores:
        return None
    return MaskErrors(
        num_compared=len(scores),
        iou_mean=float(np.mean(scores)),
        iou_median=float(np.median(scores)),
        iou_worst=float(np.min(scores)),
        worst_image=images[int(np.argmin(scores))],
    )


def mask_iou(mask: np.ndarray, true: np.ndarray) -> float:
    """Intersection over union; ``mask`` is resized (nearest) to the truth. Two empty masks give 1."""
    if mask.shape != true.shape:
        mask = resize_nearest(mask.astype(np.uint8), true.shape) > 0
    union = np.count_nonzero(mask | true)
    return float(np.count_nonzero(mask & true) / union) if union else 1.0


def _depth(
    sequence_dir: Path, truth: Truth, placed: list[_Pair], scale: float, depth_scale: float
) -> DepthErrors | None:
    if not (sequence_dir / "depth").is_dir():
        return None
    known = ((pair.image, truth.depth(pair.truth)) for pair in placed)
    frames = ((image, depth) for image, depth in known if depth is not None)
    return depth_errors(sequence_dir, frames, depth_scale * scale)


def _cloud(
    sequence_dir: Path, truth: Truth, pairs: list[_Pair], align: Similarity
) -> tuple[tuple[CloudScore, ...] | None, int]:
    from walkaround.quality._surface import Surface

    path = sequence_dir / "cloud.ply"
    if not path.is_file():
        return None, 0
    points = align.apply(read_ply(path).points_in_world.astype(np.float64))
    if truth.mesh_path is None:
        return None, len(points)
    surface = Surface.of(*read_mesh(truth.mesh_path))
    sizes = []
    for pair in pairs:
        mask = truth.mask(pair.truth)
        sizes.append(None if mask is None else (mask.shape[1], mask.shape[0]))
    seen = surface.samples[surface.seen([pair.truth for pair in pairs], sizes)]
    points = points[np.isfinite(points).all(axis=1)]
    if not len(points) or not len(seen):
        return tuple(_score(t, 0.0, 0.0) for t in CLOUD_THRESHOLDS_PERCENT), len(points)
    to_surface = surface.distances(points)
    to_cloud = _nearest(points, seen, surface.reach)
    limits = [0.01 * t * surface.diagonal for t in CLOUD_THRESHOLDS_PERCENT]
    return tuple(
        _score(t, float(np.mean(to_surface <= limit)), float(np.mean(to_cloud <= limit)))
        for t, limit in zip(CLOUD_THRESHOLDS_PERCENT, limits, strict=True)
    ), len(points)


def _nearest(points: FloatArray, queries: FloatArray, reach: float) -> FloatArray:
    from scipy.spatial import cKDTree

    return np.asarray(cKDTree(points).query(queries, distance_upper_bound=reach)[0])


def _score(threshold: float, precision: float, recall: float) -> CloudScore:
    total = precision + recall
    f_score = 2 * precision * recall / total if total else 0.0
    return CloudScore(threshold_percent=threshold, precision=precision, recall=recall, f_score=f_score)


def format_evaluation(evaluation: Evaluation) -> str:
    """Lay the numbers out as a table for people."""
    c = evaluation.cameras
    rows = [("status", evaluation.status)] if evaluation.status.startswith("rejected") else []
    rows += [
        ("frames registered", f"{c.num_registered} of {c.num_frames} ({c.num_compared} compared)"),
        ("camera centre", f"{c.centre_median_percent:.3f} % median, {c.centre_worst_percent:.3f} % worst"),
        ("camera rotation", f"{c.rotation_median_deg:.3f} deg median, {c.rotation_worst_deg:.3f} deg worst"),
    ]
    if evaluation.masks is not None:
        m = evaluation.masks
        rows.append(
            ("mask IoU", f"{m.iou_mean:.3f} mean, {m.iou_median:.3f} median, {m.iou_worst:.3f} worst")
        )
    if evaluation.depth is not None:
        rows += depth_rows(evaluation.depth)
    for s in evaluation.cloud or ():
        text = f"F {s.f_score:.3f}  (precision {s.precision:.3f}, recall {s.recall:.3f})"
        rows.append((f"cloud at {s.threshold_percent:g} %", text))
    if evaluation.doubts:
        rows.append(("warning", " ".join(evaluation.doubts)))
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {text}" for name, text in rows)
