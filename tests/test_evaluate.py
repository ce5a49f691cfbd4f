"""The evaluator on the truth itself, and on errors planted at a known size."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import trimesh

from walkaround.errors import FormatError
from walkaround.geometry import Similarity
from walkaround.io.colmap import write_sparse_model
from walkaround.io.pointcloud import write_ply
from walkaround.quality._surface import Surface
from walkaround.quality.evaluate import evaluate_sequence, format_evaluation
from walkaround.quality.truth import Truth, read_mesh, read_truth
from walkaround.simulate import SimulateOptions, simulate_capture
from walkaround.types import Camera, FloatArray, Frame, PointCloud, SparseModel, View

NUM_FRAMES = 10


@pytest.fixture(scope="module")
def truth_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("truth")
    options = SimulateOptions(object="blob", num_frames=NUM_FRAMES, size=(160, 120), samples=1)
    return simulate_capture(out, options=options).truth_dir


def some_similarity() -> Similarity:
    """Sequence from truth: turned, scaled, shifted."""
    rotation, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))
    rotation *= np.sign(np.linalg.det(rotation))
    return Similarity(scale=2.2, rotation=rotation, translation=np.array([0.3, -4.0, 1.0]))


def write_sequence(
    out: Path, truth: Truth, *, shift: FloatArray | None = None, depth_factor: float = 1.0
) -> None:
    """Write the truth as if it had been built, in another world frame; ``shift`` moves camera 4."""
    to_sequence = some_similarity()
    for name in ("sparse/0", "masks", "depth"):
        (out / name).mkdir(parents=True)
    views, frames = [], []
    for number, true in enumerate(truth.frames):
        name = f"{number + 1:03d}"
        pose = true.cam_from_world.copy()
        if shift is not None and number == 4:
            pose[:3, 3] -= pose[:3, :3] @ shift
        mask, depth = truth.mask(true), truth.depth(true)
        assert mask is not None and depth is not None and true.K is not None
        frame = Frame(index=number + 1, image=f"{name}.jpg", source_index=true.source_index, timestamp_s=None)
        camera = Camera(
            model="PINHOLE",
            width=mask.shape[1],
            height=mask.shape[0],
            params=(true.K[0, 0], true.K[1, 1], true.K[0, 2], true.K[1, 2]),
        )
        views.append(View(frame=frame, camera=camera, cam_from_world=to_sequence.apply_pose(pose)))
        frames.append({"image": frame.image, "source_index": frame.source_index, "timestamp_s": None})
        cv2.imwrite(str(out / "masks" / f"{name}.png"), mask.astype(np.uint8) * 255)
        steps = np.rint(depth * depth_factor * to_sequence.scale / 1e-4).astype(np.uint16)
        cv2.imwrite(str(out / "depth" / f"{name}.png"), steps)
    empty = np.zeros(0, dtype=np.int64)
    model = SparseModel(
        views=tuple(views),
        points_in_world=np.zeros((0, 3)),
        colors=np.zeros((0, 3), dtype=np.uint8),
        errors_px=np.zeros(0),
        observations=tuple(empty for _ in views),
    )
    write_sparse_model(out / "sparse" / "0", model)
    (out / "sequence.json").write_text(json.dumps({"frames": frames, "depth_scale": 1e-4}))
    assert truth.mesh_path is not None
    vertices, faces = read_mesh(truth.mesh_path)
    points, _ = trimesh.sample.sample_surface(
        trimesh.Trimesh(vertices, faces, process=False), 400_000, seed=1
    )
    write_ply(out / "cloud.ply", PointCloud(points_in_world=to_sequence.apply(points).astype(np.float32)))


def test_truth_itself_is_perfect(truth_dir: Path, tmp_path: Path) -> None:
    write_sequence(tmp_path, read_truth(truth_dir))
    result = evaluate_sequence(tmp_path, truth_dir)
    assert result.cameras.num_registered == result.cameras.num_compared == NUM_FRAMES
    assert result.cameras.centre_worst_percent < 1e-6
    assert result.cameras.rotation_worst_deg < 1e-6
    assert result.scale == pytest.approx(1 / 2.2)
    assert result.masks is not None and result.masks.iou_worst == 1.0
    assert result.depth is not None and result.depth.coverage == 1.0
    assert result.depth.median_relative_error_percent < 0.01
    assert result.cloud is not None
    assert all(score.precision > 0.9999 and score.recall > 0.98 for score in result.cloud)
    assert "cloud at 0.25 %" in format_evaluation(result)
    json.dumps(result.to_dict())


def test_planted_errors_show_at_their_size(truth_dir: Path, tmp_path: Path) -> None:
    truth = read_truth(truth_dir)
    centres = [-f.cam_from_world[:3, :3].T @ f.cam_from_world[:3, 3] for f in truth.frames]
    assert truth.mesh_path is not None
    vertices, _ = read_mesh(truth.mesh_path)
    middle = 0.5 * (vertices.min(axis=0) + vertices.max(axis=0))
    distance = float(np.mean([np.linalg.norm(c - middle) for c in centres]))
    write_sequence(tmp_path, truth, shift=np.array([0.0, 0.0, 0.1 * distance]), depth_factor=1.005)
    mask_path = tmp_path / "masks" / "002.png"
    mask = cv2.imread(str(mask_path), cv2.IMREAD_GRAYSCALE)
    rows = np.flatnonzero(mask.any(axis=1))
    mask[: rows[len(rows) // 2]] = 0
    cv2.imwrite(str(mask_path), mask)
    true_mask = truth.mask(truth.frames[1])
    assert true_mask is not None
    result = evaluate_sequence(tmp_path, truth_dir)
    assert result.cameras.worst_image == "005.jpg"
    assert result.cameras.centre_worst_percent == pytest.approx(10.0, rel=1e-3)
    assert result.cameras.centre_median_percent < 1e-6
    assert result.masks is not None and result.masks.worst_image == "002.jpg"
    assert result.masks.iou_worst == pytest.approx((mask > 0).sum() / true_mask.sum())
    assert result.depth is not None
    assert result.depth.median_relative_error_percent == pytest.approx(0.5, abs=0.01)


def test_filled_depth_is_counted_apart(truth_dir: Path, tmp_path: Path) -> None:
    truth = read_truth(truth_dir)
    write_sequence(tmp_path, truth)
    (tmp_path / "confidence").mkdir()
    for path in (tmp_path / "depth").iterdir():
        steps = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        confidence = np.where(steps > 0, 200, 0).astype(np.uint8)
        right = np.arange(steps.shape[1]) >= steps.shape[1] // 2
        confidence[:, right] = np.minimum(confidence[:, right], 1)
        cv2.imwrite(str(tmp_path / "confidence" / path.name), confidence)
        cv2.imwrite(str(path), np.where(right, np.rint(steps * 1.02), steps).astype(np.uint16))
    result = evaluate_sequence(tmp_path, truth_dir)
    d = result.depth
    assert d is not None
    assert d.coverage + d.filled_coverage == pytest.approx(1) and 0.2 < d.filled_coverage < 0.8
    assert d.median_relative_error_percent < 0.01 and d.within_1_percent == 1
    assert d.filled_median_relative_error_percent == pytest.approx(2, abs=0.01)
    assert d.filled_within_1_percent == 0
    assert f"{d.filled_coverage:.3f} more, 2.000 % median" in format_evaluation(result)


def test_cloud_errors(truth_dir: Path, tmp_path: Path) -> None:
    """Points pushed off by 0.7 % of the diagonal count at 1 % and not at 0.5 %; strays cost precision."""
    truth = read_truth(truth_dir)
    write_sequence(tmp_path, truth)
    assert truth.mesh_path is not None
    mesh = trimesh.Trimesh(*read_mesh(truth.mesh_path), process=False)
    diagonal = float(np.linalg.norm(mesh.extents))
    points, face = trimesh.sample.sample_surface(mesh, 60_000, seed=2)
    moved = points + 0.007 * diagonal * mesh.face_normals[face]
    stray = points[:20_000] + np.array([0, 0, 3 * diagonal])
    cloud = some_similarity().apply(np.concatenate([moved, stray])).astype(np.float32)
    write_ply(tmp_path / "cloud.ply", PointCloud(points_in_world=cloud))
    result = evaluate_sequence(tmp_path, truth_dir)
    assert result.cloud is not None
    quarter, half, one = result.cloud
    assert quarter.precision < 0.01 and half.precision < 0.05
    assert one.precision == pytest.approx(0.75, abs=0.005)
    assert one.recall > 0.99 and half.recall < 0.1


def test_unregistered_and_missing(truth_dir: Path, tmp_path: Path) -> None:
    write_sequence(tmp_path, read_truth(truth_dir))
    (tmp_path / "cloud.ply").unlink()
    shutil.rmtree(tmp_path / "masks")
    (tmp_path / "depth" / "003.png").unlink()
    result = evaluate_sequence(tmp_path, truth_dir)
    assert result.cloud is None and result.masks is None
    assert result.depth is not None and 0.8 < result.depth.coverage < 0.95


def edit_record(sequence: Path, **fields: Any) -> None:
    record = json.loads((sequence / "sequence.json").read_text())
    (sequence / "sequence.json").write_text(json.dumps(record | fields))


def test_a_folder_that_is_no_sequence(truth_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(
        FormatError, match=r"sequence\.json cannot be read \(No such file.*Pass the folder of"
    ):
        evaluate_sequence(tmp_path, truth_dir)
    (tmp_path / "sequence.json").write_text('{"frames": []}')
    with pytest.raises(FormatError, match="KeyError: 'depth_scale'"):
        evaluate_sequence(tmp_path, truth_dir)


def test_a_rejected_sequence_is_named_as_such(truth_dir: Path, tmp_path: Path) -> None:
    write_sequence(tmp_path, read_truth(truth_dir))
    edit_record(tmp_path, status="rejected", reasons=["narrow_arc", "dark"], message="It moves too little.")
    result = evaluate_sequence(tmp_path, truth_dir)
    assert result.status == "rejected narrow_arc dark" and not result.doubts
    assert format_evaluation(result).startswith("status             rejected narrow_arc dark\n")
    shutil.rmtree(tmp_path / "sparse")
    with pytest.raises(FormatError, match=r"rejected \(narrow_arc\) before it had cameras.*too little"):
        evaluate_sequence(tmp_path, truth_dir)
    edit_record(tmp_path, status="incomplete")
    with pytest.raises(FormatError, match="no cameras yet"):
        evaluate_sequence(tmp_path, truth_dir)


def test_the_truth_of_something_else(truth_dir: Path, tmp_path: Path) -> None:
    truth = read_truth(truth_dir)
    write_sequence(tmp_path / "sequence", truth)
    assert evaluate_sequence(tmp_path / "sequence", truth_dir).doubts == ()
    edit_record(tmp_path / "sequence", source={"num_frames": 5})
    rng = np.random.default_rng(0)
    frames = []
    for number, frame in enumerate(truth.frames):
        pose = frame.cam_from_world.copy()
        pose[:3, :3] = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        pose[:3, :3] *= np.linalg.det(pose[:3, :3])
        pose[:3, 3] = rng.normal(size=3)
        size = {"width": 240, "height": 160}
        frames.append({"image": f"{number}.png", "cam_from_world": pose.tolist(), **size})
    (tmp_path / "cameras.json").write_text(json.dumps({"frames": frames[:-1]}))
    result = evaluate_sequence(tmp_path / "sequence", tmp_path)
    text = " ".join(result.doubts)
    assert "knows 9 of the sequence's 10 frames" in text and "only 5 frames" in text
    assert "160 x 120, the truth's 240 x 160" in text
    assert "of the distance to the object" in text and text.endswith("Is it the truth of this capture?")
    assert "warning" in format_evaluation(result)
    (tmp_path / "cameras.json").write_text(json.dumps({"frames": frames[:2]}))
    with pytest.raises(FormatError, match="2 registered frames match"):
        evaluate_sequence(tmp_path / "sequence", tmp_path)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"frames": []}', '{"frames": [3]}', '{"frames": [{"image": "a.png"}]}',
     '{"frames": [{"image": "a.png", "cam_from_world": [[1, 2], [3]]}]}',
     '{"frames": [{"image": "../a.png", "cam_from_world": 1}]}'],
)  # fmt: skip
def test_malformed_truth(text: str, tmp_path: Path) -> None:
    (tmp_path / "cameras.json").write_text(text)
    with pytest.raises(FormatError):
        read_truth(tmp_path)


def test_reference_with_poses_only(truth_dir: Path, tmp_path: Path) -> None:
    from scipy.spatial.transform import Rotation

    truth = read_truth(truth_dir)
    write_sequence(tmp_path / "sequence", truth)
    frames = []
    for number, frame in enumerate(truth.frames):
        x, y, z, w = Rotation.from_matrix(frame.cam_from_world[:3, :3]).as_quat()
        frames.append(
            {
                "image": f"{number + 1}.jpg",
                "cam_from_world_wxyz": [w, x, y, z],
                "cam_from_world_xyz": frame.cam_from_world[:3, 3].tolist(),
            }
        )
    (tmp_path / "reference.json").write_text(json.dumps({"frames": frames[::-1]}))
    result = evaluate_sequence(tmp_path / "sequence", tmp_path / "reference.json")
    assert result.cameras.num_compared == NUM_FRAMES
    assert result.cameras.centre_worst_percent < 1e-5 and result.cameras.rotation_worst_deg < 1e-4
    assert result.masks is None and result.depth is None and result.cloud is None


def test_surface_distances_are_exact_near_and_infinite_far() -> None:
    vertices = np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    surface = Surface.of(vertices, np.array([[0, 1, 2], [0, 2, 3]]))
    points = np.array([[0.3, 0.4, 0.01], [0.9, 0.2, -0.05], [0.5, 0.5, 3.0], [40.0, 0, 0]])
    np.testing.assert_allclose(surface.distances(points), [0.01, 0.05, np.inf, np.inf], atol=1e-9)
