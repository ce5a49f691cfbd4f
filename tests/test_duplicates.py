"""walkaround duplicates: fingerprints, neighbours, features, files."""

from __future__ import annotations

import dataclasses
import json
import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.test_dataset import RECORD
from walkaround.cli import main
from walkaround.dataset import duplicates, neighbours
from walkaround.dataset.duplicates import find_duplicates
from walkaround.dataset.duplicates_options import DuplicatesOptions
from walkaround.dataset.fingerprint import VECTOR_BYTES, describe, object_crops, to_vectors
from walkaround.dataset.neighbours import candidate_pairs, distances
from walkaround.dataset.rows import catalog_row, write_catalog
from walkaround.errors import UsageError

WIDTH, HEIGHT, NUM_STILLS = 240, 180, 5


def _surface(seed: int) -> np.ndarray[Any, Any]:
    """Return a round object's print, 150 x 600: what a walk around it unrolls."""
    rng = np.random.default_rng(seed)
    image = np.full((150, 600, 3), rng.integers(40, 200, 3), np.uint8)
    for _ in range(220):
        centre = (int(rng.integers(0, 600)), int(rng.integers(0, 150)))
        colour = [int(value) for value in rng.integers(0, 255, 3)]
        cv2.circle(image, centre, int(rng.integers(3, 11)), colour, -1, cv2.LINE_AA)
    return image


def _film(
    folder: Path, seed: int, *, start: int = 0, light: float = 1.0, size: int = 110, back: int = 0
) -> None:
    """Write stills and masks of an object: parts of its print in an ellipse before some background."""
    rng = np.random.default_rng(1000 * back + seed)
    surface = np.concatenate([_surface(seed)] * 2, axis=1)
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for number in range(NUM_STILLS):
        left = (start + number * 600 // NUM_STILLS) % 600
        part = cv2.resize(surface[:, left : left + 150], (size, size), interpolation=cv2.INTER_AREA)
        image = np.full((HEIGHT, WIDTH, 3), rng.integers(0, 255, 3), np.uint8)
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        top, side = (HEIGHT - size) // 2 + int(rng.integers(-8, 8)), (WIDTH - size) // 2
        cv2.ellipse(mask, (side + size // 2, top + size // 2), (size // 2, size // 2 - 6), 0, 0, 360, 255, -1)
        pasted = image.copy()
        pasted[top : top + size, side : side + size] = part
        image[mask > 0] = np.clip(pasted[mask > 0] * light, 0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / "images" / f"{number:03d}.jpg"), image)
        cv2.imwrite(str(folder / "masks" / f"{number:03d}.png"), mask)


def _row(name: str, *, source: str = "", key: str = "k") -> dict[str, Any]:
    label, instance = name.split("/")
    stage = dataclasses.replace(RECORD.stages["frames"], key=key)
    record = dataclasses.replace(
        RECORD,
        class_label=label,
        instance_id=instance,
        stages={"frames": stage},
        source=dataclasses.replace(RECORD.source, sha256=source or name),
    )
    return catalog_row(record)


FILMED = {
    "mug/a": {"seed": 1},
    "mug/again": {"seed": 1, "start": 20, "light": 0.6, "size": 100, "back": 1},
    "cup/again": {"seed": 1, "start": 310, "light": 0.8, "size": 120, "back": 2},
    "mug/b": {"seed": 2},
    "cup/d": {"seed": 4},
}
SAME = (("cup/again", "mug/a"), ("cup/again", "mug/again"), ("mug/a", "mug/again"))


@pytest.fixture(scope="module")
def filmed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("filmed")
    for name, values in FILMED.items():
        _film(root / name, **values)  # type: ignore[arg-type]
    write_catalog(root, [_row(name) for name in FILMED])
    return root


def test_the_same_object_is_found(filmed: Path) -> None:
    found = find_duplicates(filmed, options=DuplicatesOptions(), num_threads=2)
    assert tuple((pair.a, pair.b) for pair in found.pairs if pair.kind == "same_object") == SAME
    assert found.groups == (("cup/again", "mug/a", "mug/again"),)
    assert (found.num_sequences, found.num_compared) == (5, 5)
    assert find_duplicates(filmed, options=DuplicatesOptions()) == found  # one thread, kept fingerprints


def test_options_of_the_search(filmed: Path) -> None:
    strict = find_duplicates(filmed, options=DuplicatesOptions(min_matches=10_000, look_alike=2))
    assert {pair.kind for pair in strict.pairs} == {"look_alike"} and not strict.groups
    assert {(pair.a, pair.b) for pair in strict.pairs} & set(SAME)
    none = find_duplicates(filmed, options=DuplicatesOptions(min_matches=10_000, look_alike=0))
    assert not none.pairs
    assert not find_duplicates(filmed, options=DuplicatesOptions(max_distance=0)).num_candidates
    with pytest.raises(UsageError, match="min_matches is 3; it must be at least 6"):
        find_duplicates(filmed, options=DuplicatesOptions(min_matches=3))


def test_the_same_source_is_found(tmp_path: Path) -> None:
    rows = [_row("mug/a", source="s"), _row("cup/b", source="s"), _row("mug/c", source="s"), _row("mug/d")]
    write_catalog(tmp_path, rows)
    found = find_duplicates(tmp_path, options=DuplicatesOptions())
    assert [(pair.a, pair.b, pair.kind) for pair in found.pairs] == [
        ("cup/b", "mug/a", "same_source"), ("cup/b", "mug/c", "same_source"),
    ]  # fmt: skip
    assert found.groups == (("cup/b", "mug/a", "mug/c"),) and found.num_compared == 0


def test_fingerprints_are_kept(filmed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "find_views", lambda crops: [])
    find_duplicates(filmed, options=DuplicatesOptions())
    described: list[int] = []
    monkeypatch.setattr(duplicates, "describe", lambda crops: (described.append(1), describe(crops))[1])
    find_duplicates(filmed, options=DuplicatesOptions())
    assert not described
    try:
        write_catalog(filmed, [_row(name, key="new" if name == "mug/b" else "k") for name in FILMED])
        find_duplicates(filmed, options=DuplicatesOptions())
        assert len(described) == 1
        (filmed / ".work" / "catalog" / "fingerprints.parquet").write_bytes(b"broken")
        find_duplicates(filmed, options=DuplicatesOptions())
        assert len(described) == 1 + len(FILMED)
    finally:
        write_catalog(filmed, [_row(name) for name in FILMED])


def test_light_order_and_place_change_fingerprints_little(tmp_path: Path) -> None:
    _film(tmp_path / "a", 5)
    _film(tmp_path / "b", 5, light=0.5, back=3)
    _film(tmp_path / "c", 6)
    prints = [describe(list(object_crops(tmp_path / name))) for name in "abc"]
    reverse = describe(list(object_crops(tmp_path / "a"))[::-1])
    assert all(item is not None and item.shape == (VECTOR_BYTES,) for item in prints)
    assert np.abs(reverse.astype(int) - prints[0].astype(int)).max() <= 1  # type: ignore[union-attr]
    a, b, c = to_vectors(np.stack(prints))  # type: ignore[arg-type]
    assert np.linalg.norm(a - b) < 0.5 * np.linalg.norm(a - c)


def test_broken_files_are_passed_over(tmp_path: Path) -> None:
    _film(tmp_path, 7)
    (tmp_path / "images" / "000.jpg").write_bytes(b"\xff\xd8 broken")
    (tmp_path / "images" / "001.jpg").unlink()
    (tmp_path / "masks" / "002.png").write_bytes(b"")
    cv2.imwrite(str(tmp_path / "masks" / "003.png"), np.zeros((HEIGHT, WIDTH), np.uint8))
    assert [crop.name for crop in object_crops(tmp_path)] == ["004"]
    assert describe([]) is None and not list(object_crops(tmp_path / "nowhere"))


@pytest.mark.parametrize(("count", "dimensions"), [(0, 5), (1, 5), (2, 5), (200, 5), (250, 120)])
def test_neighbours_are_those_of_all_pairs(
    count: int, dimensions: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neighbours, "_FEW", 0)
    monkeypatch.setattr(neighbours, "_BLOCK", 64)
    rng = np.random.default_rng(count)
    vectors = (rng.normal(size=(count, dimensions)) * np.linspace(2, 0.01, dimensions)).astype(np.float32)
    vectors[:, 96:] = 0  # what the axes leave out
    classes = [str(number % 3) for number in range(count)]
    pairs = candidate_pairs(vectors, classes, num_in_class=4, num_anywhere=2)
    apart = np.linalg.norm(vectors[:, None] - vectors[None], axis=2)
    np.fill_diagonal(apart, np.inf)
    expected = set()
    for row in range(count):
        mine = np.array([place for place in range(count) if classes[place] == classes[row]])
        for near in (np.argsort(apart[row])[:2], mine[np.argsort(apart[row, mine])[:4]]):
            expected |= {tuple(sorted((row, int(place)))) for place in near if apart[row, place] < np.inf}
    assert {tuple(pair) for pair in pairs.tolist()} == expected
    assert np.allclose(distances(vectors, pairs), [apart[a, b] for a, b in pairs], atol=1e-4)


def test_the_command(filmed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["duplicates", str(filmed), "--threads", "1", "--pictures", "2"]) == 0
    out, err = capsys.readouterr()
    assert "the same object: 3 pairs" in out and "mug/a  mug/again" in out and "duplicates.json" in err
    value = json.loads((filmed / "duplicates.json").read_text())
    assert value["schema_version"] == 1 and value["groups"] == [["cup/again", "mug/a", "mug/again"]]
    assert [pair.get("picture") for pair in value["pairs"]][:3] == [
        "duplicates/0001.jpg", "duplicates/0002.jpg", None,
    ]  # fmt: skip
    sheet = cv2.imread(str(filmed / "duplicates" / "0001.jpg"))
    assert sheet is not None and sheet.std() > 20
    assert "mug/again/report.html" in (filmed / "duplicates" / "index.html").read_text()
    assert main(["duplicates", str(filmed), "--pictures", "0", "--json"]) == 0
    assert not (filmed / "duplicates").exists()
    assert json.loads(capsys.readouterr().out)["num_compared"] == 5
    assert main(["splits", str(filmed)]) == 0
    assert "no leaks" in capsys.readouterr().out


def test_names_that_lead_out_of_the_dataset(tmp_path: Path) -> None:
    root = tmp_path / "root"
    _film(tmp_path / "mug" / "a", 1)
    _film(root / "mug" / "a", 1)
    evil = [_row("mug/a") | {"class_label": "../mug"}, _row("mug/a") | {"instance_id": "../../mug/a"}]
    write_catalog(root, [_row("mug/a"), *evil])
    found = find_duplicates(root, options=DuplicatesOptions())
    assert (found.num_sequences, found.num_compared, found.pairs) == (1, 1, ())


def test_a_picture_that_states_too_many_pixels_is_not_decoded(tmp_path: Path) -> None:
    _film(tmp_path, 7)
    path = tmp_path / "masks" / "000.png"
    path.write_bytes(path.read_bytes()[:16] + struct.pack(">II", 60_000, 60_000) + path.read_bytes()[24:])
    assert [crop.name for crop in object_crops(tmp_path)] == ["001", "002", "003", "004"]


def test_someone_elses_folder_stays(filmed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "find_views", lambda crops: [])
    (filmed / "duplicates").mkdir()
    (filmed / "duplicates" / "notes.txt").write_text("mine")
    assert main(["duplicates", str(filmed), "--pictures", "1"]) == 0
    assert (filmed / "duplicates" / "notes.txt").read_text() == "mine"
