"""What ``walkaround restore inpaint`` takes for missing: white, soft edges, full transparency."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")

from walkaround.cli import main
from walkaround.errors import UsageError
from walkaround.restore.missing import MISSING_FROM, known_pixels, made_opaque
from walkaround.restore.picture import Picture, read_picture

QUICK = ["--pairs.iterations", "3", "--pairs.channels", "8", "--pairs.draws", "1", "--threads", "1"]


def smooth(height: int = 64, width: int = 96) -> np.ndarray:
    """Return (H, W, 3) BGR, 8 bits, that a thin plate continues well."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([90 + rows, 60 + columns, 150 - columns // 2], -1).astype(np.uint8)


def text(height: int = 64, width: int = 96) -> np.ndarray:
    """Return (H, W), 8 bits: letters with soft edges."""
    drawn = np.zeros((height, width), np.uint8)
    for row in (20, 42, 62):
        cv2.putText(drawn, "Halo", (4, row), cv2.FONT_HERSHEY_SIMPLEX, 0.8, 255, 2, cv2.LINE_AA)
    return drawn


def write(path: Path, image: np.ndarray, *flags: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image, list(flags))
    return path


def inpaint(folder: Path, source: Path, *more: str) -> np.ndarray:
    assert main(["restore", "inpaint", str(source), "--out", str(folder / "out"), *more, *QUICK]) == 0
    return cv2.imread(str(folder / "out" / f"{source.stem}.png"), cv2.IMREAD_UNCHANGED)


def test_soft_edges_of_drawn_text_leave_no_halo(tmp_path: Path) -> None:
    clean, drawn = smooth(), text()
    share = drawn[..., None] / 255
    written = np.round(clean * (1 - share) + 255 * share).astype(np.uint8)
    source, mask = write(tmp_path / "in.png", written), write(tmp_path / "mask.png", drawn)
    result = inpaint(tmp_path, source, "--mask", str(mask))
    error = np.abs(result.astype(int) - clean).max(2)
    soft = (drawn > 0) & (drawn < 255)
    assert soft.sum() > 200 and np.abs(written.astype(int) - clean).max(2)[soft].max() > 150
    assert error.max() <= MISSING_FROM
    known = drawn < MISSING_FROM
    np.testing.assert_array_equal(result[known], written[known])


def test_what_jpeg_leaves_around_an_edge_is_mostly_known(tmp_path: Path) -> None:
    drawn = text()
    mask = write(tmp_path / "mask.jpg", drawn, cv2.IMWRITE_JPEG_QUALITY, 75)
    around = (drawn == 0) & (cv2.imread(str(mask), cv2.IMREAD_GRAYSCALE) > 0)
    known = known_pixels(read_picture(write(tmp_path / "in.png", smooth())), mask, "in.png")
    assert around.sum() > 500 and known[around].mean() > 0.9
    assert not known[drawn >= 64].any()


@pytest.mark.parametrize(
    ("kind", "top", "said"),
    [
        (np.uint8, 0, "its lightest pixel has 0 of 255"),
        (np.uint8, 1, "its lightest pixel has 1 of 255"),
        (np.uint8, 80, "its lightest pixel has 80 of 255"),
        (np.uint16, 255, "its lightest pixel has 255 of 65535"),
    ],
)
def test_a_mask_that_is_white_nowhere_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: type, top: int, said: str
) -> None:
    labels = np.where(text() > 128, top, 0).astype(kind)
    source, mask = write(tmp_path / "in.png", smooth()), write(tmp_path / "mask.png", labels)
    command = ["restore", "inpaint", str(source), "--out", str(tmp_path / "out"), "--mask", str(mask), *QUICK]
    assert main(command) == 2
    err = capsys.readouterr().err
    assert said in err and "white" in err and str(mask) in err
    assert not list(tmp_path.glob("out/*"))


@pytest.mark.parametrize(("least", "said"), [(255, "alpha 255 of 255"), (90, "alpha 90 of 255")])
def test_a_picture_with_nothing_missing_says_so(tmp_path: Path, least: int, said: str) -> None:
    alpha = np.full((64, 96), 255, np.uint8)
    alpha[3, 4] = least
    picture = read_picture(write(tmp_path / "in.png", np.dstack([smooth(), alpha])))
    with pytest.raises(UsageError, match=f"in.png has no fully transparent pixels .*{said}.*--mask FILE"):
        known_pixels(picture, None, "in.png")


@pytest.mark.parametrize("kind", ["colour", "grey", "16 bits"])
def test_transparent_pixels_are_filled_and_other_transparency_stays(tmp_path: Path, kind: str) -> None:
    image = smooth()[..., :1] if kind == "grey" else smooth()
    alpha = np.full((64, 96), 255, np.uint8)
    alpha[10:20], alpha[30:40, 5:30], alpha[50:54, 40:60] = 128, 1, 0
    stored = np.dstack([np.where(alpha[..., None] > 0, image, 0), alpha])
    stored = np.repeat(stored, [3, 1], 2) if kind == "grey" else stored
    stored = stored.astype(np.uint16) * 257 if kind == "16 bits" else stored
    result = inpaint(tmp_path, write(tmp_path / "in.png", stored))
    assert result.dtype == stored.dtype and result.shape == stored.shape
    missing = alpha == 0
    np.testing.assert_array_equal(result[~missing], stored[~missing])
    top = np.iinfo(stored.dtype).max
    assert (result[missing][:, 3] == top).all()
    assert np.abs(result[missing][:, :3] / top - image[missing] / 255).max() < 0.05


def test_a_filled_picture_that_is_opaque_has_no_transparency() -> None:
    alpha = np.ones((4, 5), np.float32)
    alpha[1, 2] = 0
    picture = Picture(image=np.zeros((4, 5, 3), np.float32), alpha=alpha, bits=8)
    assert made_opaque(picture).alpha is None
