"""What moves before a standing camera, and cameras in the frame of the object that does."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from walkaround.cameras import CamerasOptions, estimate_cameras
from walkaround.cameras.features import sift_features
from walkaround.cameras.learned import masked
from walkaround.cameras.moving import check_subject, find_motion, write_moving
from walkaround.capture import CaptureOptions, inspect_capture
from walkaround.errors import SequenceRejected
from walkaround.frames import FramesOptions, extract_frames
from walkaround.io.depth import read_grey
from walkaround.masks.segment import iou
from walkaround.types import BoolArray, ByteArray, FloatArray

SIZE = (320, 240)


def noise_picture(seed: int, size: tuple[int, int]) -> ByteArray:
    """Return smooth coloured noise (h, w, 3) with corners at many scales."""
    rng = np.random.default_rng(seed)
    out = np.zeros((size[1], size[0], 3), np.float32)
    for cells in (6, 14, 40):
        coarse = rng.uniform(0, 255, (cells, cells, 3)).astype(np.float32)
        out += cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC) / 3
    return np.clip(out, 0, 255).astype(np.uint8)


def standing_video(sway: float, count: int = 12) -> tuple[list[ByteArray], list[BoolArray]]:
    """Return pictures of one background, swaying about, with a patch that moves in a circle before it."""
    background, patch = noise_picture(1, (400, 320)), noise_picture(2, (90, 70))
    rng = np.random.default_rng(3)
    pictures, masks = [], []
    for n in range(count):
        angle = 2 * np.pi * n / count
        x, y = round(115 + 45 * np.cos(angle)), round(85 + 45 * np.sin(angle))
        shift = np.array([40.0, 40.0]) + sway * rng.uniform(-1, 1, 2)
        turn = cv2.getRotationMatrix2D((200.0, 160.0), sway * rng.uniform(-0.2, 0.2), 1.0)
        turn[:, 2] -= shift
        picture = cv2.warpAffine(background, turn, SIZE).astype(np.float32)
        picture = picture * rng.uniform(0.97, 1.03) + rng.normal(0, 2, picture.shape)
        picture[y : y + 70, x : x + 90] = patch
        mask = np.zeros(picture.shape[:2], bool)
        mask[y : y + 70, x : x + 90] = True
        pictures.append(np.clip(picture, 0, 255).astype(np.uint8))
        masks.append(mask)
    return pictures, masks


@pytest.mark.parametrize("sway", [0.0, 12.0])
def test_what_moves_is_told_from_what_stands(sway: float) -> None:
    pictures, masks = standing_video(sway)
    motion = find_motion(pictures)
    assert motion.stands and motion.recognised == 1.0
    assert (motion.sway_px == 0) == (sway == 0)
    overlap = [iou(found, mask) for found, mask in zip(motion.moving, masks, strict=True)]
    assert min(overlap) > 0.65 and np.mean(overlap) > 0.75
    # nearly nothing of the object is lost
    assert min(float(f[m].mean()) for f, m in zip(motion.moving, masks, strict=True)) > 0.9


def walking_video(count: int = 12) -> list[ByteArray]:
    """Return pictures of a table past which a camera walks: what is nearer shifts more."""
    table = noise_picture(1, (900, 240))
    y, x = np.mgrid[0:240, 0:320].astype(np.float32)
    return [
        cv2.remap(table, x + 300 + (n - count / 2) * (2 + 20 * y / 240), y, cv2.INTER_LINEAR)
        for n in range(count)
    ]


def test_a_walk_does_not_stand() -> None:
    assert not find_motion(walking_video()).stands


def test_a_still_picture_has_no_subject() -> None:
    picture = noise_picture(1, SIZE)
    motion = find_motion([picture.copy() for _ in range(8)])
    assert motion.share == 0 and not motion.stands
    with pytest.raises(SequenceRejected, match="no object can be told") as caught:
        check_subject(motion)
    assert caught.value.reason == "static_camera"


def test_features_stay_inside_a_mask(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "001.jpg"), noise_picture(4, (640, 480)))
    pictures, masks = standing_video(0.0)
    write_moving(find_motion(pictures), [f"{n:03d}.jpg" for n in range(len(masks))], tmp_path / "moving")
    assert read_grey(tmp_path / "moving" / "000.jpg.png").shape == (SIZE[1], SIZE[0])
    mask = np.zeros((480, 640), np.uint8)
    mask[100:300, 200:500] = 255
    keypoints, _ = sift_features(tmp_path / "001.jpg", 320, 1000, mask)
    everywhere, _ = sift_features(tmp_path / "001.jpg", 320, 1000)
    assert 20 < len(keypoints) < len(everywhere)
    x, y = keypoints[:, 0], keypoints[:, 1]
    learned = masked(
        (np.array([[250.5, 150.5], [10.0, 10.0]]), np.eye(2, 64, dtype=np.float32), (640, 480)), mask
    )
    assert learned[0].tolist() == [[250.5, 150.5]] and learned[1].shape == (1, 64)
    assert x.min() > 197 and x.max() < 503 and y.min() > 97 and y.max() < 303


def turn_deg(poses: list[FloatArray]) -> float:
    """Return the largest angle between two cameras' rotations."""
    rotations = [pose[:3, :3] for pose in poses]
    return max(
        float(np.degrees(np.arccos(np.clip((np.trace(a @ b.T) - 1) / 2, -1, 1))))
        for a in rotations
        for b in rotations
    )


@pytest.mark.data
@pytest.mark.slow
def test_a_box_in_the_hand_is_solved_in_its_own_frame(test_data: Path, tmp_path: Path) -> None:
    source = test_data / "captures" / "box.mp4"
    capture = inspect_capture(source, options=CaptureOptions())
    image_dir = tmp_path / "images"
    image_dir.mkdir()
    frames = extract_frames(source, capture, image_dir, options=FramesOptions(num_frames=12)).frames
    result = estimate_cameras(
        image_dir, frames, focal_prior_px=None, ordered=True, standing=True,
        scratch_dir=tmp_path / "work", options=CamerasOptions(max_attempts=1, learned="off"),
    )  # fmt: skip
    assert result.scores["object_first"] == 1.0 and result.scores["registered_share"] > 0.9
    assert 0.1 < result.notes["moving_share"] < 0.5
    assert turn_deg([view.cam_from_world for view in result.model.views]) > 25
    assert not list((tmp_path / "work").iterdir())
