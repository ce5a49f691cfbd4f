"""walkaround splits: shares, seeds, stability, no leak."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.test_dataset import RECORD
from walkaround.cli import main
from walkaround.dataset.groups import connected
from walkaround.dataset.rows import catalog_row, write_catalog
from walkaround.dataset.splits import find_leaks, make_splits, read_splits, write_splits
from walkaround.dataset.splits_options import SplitsOptions
from walkaround.errors import FormatError, UsageError


def _row(name: str, source: str = "", status: str = "accepted") -> dict[str, Any]:
    label, instance = name.split("/")
    record = dataclasses.replace(
        RECORD,
        class_label=label,
        instance_id=instance,
        status=status,
        source=dataclasses.replace(RECORD.source, sha256=source or name),
    )
    return catalog_row(record)


def _names(classes: dict[str, int]) -> list[str]:
    return [f"{label}/id{number:04d}" for label, count in classes.items() for number in range(count)]


def _dataset(root: Path, names: list[str], **duplicates: list[list[str]]) -> None:
    write_catalog(root, [_row(name) for name in names])
    if duplicates:
        (root / "duplicates.json").write_text(json.dumps(duplicates))


def _divide(root: Path, **options: Any) -> dict[str, str]:
    """Divide and write; return name -> split."""
    chosen = SplitsOptions(**options)
    splits = make_splits(root, options=chosen)
    write_splits(root, splits, options=chosen)
    assert not find_leaks(root)
    return {name: split for split, names in splits.members.items() for name in names}


def test_shares_by_class(tmp_path: Path) -> None:
    sizes = {"mug": 200, "bowl": 50, "cup": 10, **{f"rare{number}": 1 for number in range(40)}}
    _dataset(tmp_path, _names(sizes))
    where = _divide(tmp_path)
    assert sorted(where) == sorted(_names(sizes))
    for label, size in sizes.items():
        counts = Counter(split for name, split in where.items() if name.startswith(f"{label}/"))
        for split, share in (("train", 0.8), ("val", 0.1), ("test", 0.1)):
            assert abs(counts[split] - share * size) <= 1.5, (label, split)
    whole = Counter(where.values())
    assert whole["val"] == pytest.approx(30, abs=3) and whole["test"] == pytest.approx(30, abs=3)


def test_seeds(tmp_path: Path) -> None:
    _dataset(tmp_path / "a", _names({"mug": 60, "cup": 60}))
    _dataset(tmp_path / "b", _names({"mug": 60, "cup": 60}))
    _dataset(tmp_path / "c", _names({"mug": 60, "cup": 60}))
    assert _divide(tmp_path / "a", seed=1) == _divide(tmp_path / "b", seed=1)
    assert _divide(tmp_path / "c", seed=2) != _divide(tmp_path / "a", seed=1)
    files = [(tmp_path / name / "splits" / "train.json").read_bytes() for name in "ab"]
    assert files[0] == files[1]


@settings(max_examples=12, deadline=None)
@given(
    first=st.dictionaries(st.sampled_from("abcd"), st.integers(1, 30), min_size=1),
    added=st.dictionaries(st.sampled_from("abcde"), st.integers(1, 30)),
    seed=st.integers(0, 5),
)
def test_nothing_moves_when_sequences_are_added(
    tmp_path_factory: pytest.TempPathFactory, first: dict[str, int], added: dict[str, int], seed: int
) -> None:
    root = tmp_path_factory.mktemp("stable")
    _dataset(root, _names(first))
    before = _divide(root, seed=seed)
    sizes = {label: max(first.get(label, 0), added.get(label, 0)) for label in {**first, **added}}
    _dataset(root, _names(sizes))
    after = _divide(root, seed=seed)
    assert before.items() <= after.items() and len(after) == sum(sizes.values())
    train = sum(split == "train" for split in after.values())
    assert abs(train - 0.8 * len(after)) <= 2 + len(sizes)


def test_duplicates_stay_together(tmp_path: Path) -> None:
    names = _names({"mug": 40, "cup": 40})
    groups = [[f"mug/id{i:04d}", f"cup/id{i:04d}", f"mug/id{i + 20:04d}"] for i in range(10)]
    _dataset(tmp_path, names, groups=[*groups, ["gone/x", "mug/id0039"]])
    where = _divide(tmp_path)
    assert all(len({where[name] for name in group}) == 1 for group in groups)
    assert len(set(where.values())) == 3


def test_one_source_stays_together(tmp_path: Path) -> None:
    write_catalog(tmp_path, [_row(name, source=name[-2:]) for name in _names({"mug": 50, "cup": 50})])
    where = _divide(tmp_path)
    assert all(where[f"mug/id{i:04d}"] == where[f"cup/id{i:04d}"] for i in range(50))


def test_new_duplicates_move_together(tmp_path: Path) -> None:
    names = _names({"mug": 40})
    _dataset(tmp_path, names)
    before = _divide(tmp_path)
    train, test = (next(name for name in names if before[name] == split) for split in ("train", "test"))
    _dataset(tmp_path, names, groups=[[test, train]])
    assert [leak.kind for leak in find_leaks(tmp_path)] == ["duplicate"]
    assert main(["splits", str(tmp_path), "--check"]) == 3
    after = _divide(tmp_path)
    assert after == {**before, test: "train"}  # what was trained on is never tested on


def test_only_accepted_ones_by_default(tmp_path: Path) -> None:
    rows = [_row("mug/a"), _row("mug/b", status="rejected"), _row("mug/c", status="incomplete")]
    write_catalog(tmp_path, rows)
    assert set(_divide(tmp_path)) == {"mug/a"}
    assert set(_divide(tmp_path, rejected=True)) == {"mug/a", "mug/b"}


def test_two_splits(tmp_path: Path) -> None:
    _dataset(tmp_path, _names({"mug": 40}))
    where = _divide(tmp_path, train=0.75, val=0.25, test=0)
    assert Counter(where.values()) == {"train": 30, "val": 10}
    assert not (tmp_path / "splits" / "test.json").exists()


@pytest.mark.parametrize(
    "shares", [(0.8, 0.1, 0.2), (1.2, -0.1, -0.1), (0.5, 0.1, 0.1), (float("nan"), 0.5, 0.5)]
)
def test_shares_that_make_no_sense(tmp_path: Path, shares: tuple[float, ...]) -> None:
    _dataset(tmp_path, ["mug/a"])
    with pytest.raises(UsageError, match="add up to 1"):
        make_splits(tmp_path, options=SplitsOptions(train=shares[0], val=shares[1], test=shares[2]))


def test_another_seed_needs_overwrite(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _dataset(tmp_path, _names({"mug": 40}))
    assert main(["splits", str(tmp_path)]) == 0
    assert main(["splits", str(tmp_path), "--seed", "1"]) == 2
    assert "made with other values of seed" in capsys.readouterr().err
    before = read_splits(tmp_path)
    assert main(["splits", str(tmp_path), "--seed", "1", "--overwrite", "--json"]) == 0
    assert read_splits(tmp_path) != before
    assert json.loads(capsys.readouterr().out)["leaks"] == []


def test_leaks_are_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = _names({"mug": 10})
    write_catalog(tmp_path, [*map(_row, names), _row("cup/a", source="s"), _row("cup/b", source="s")])
    folder = tmp_path / "splits"
    folder.mkdir()
    (folder / "train.json").write_text(json.dumps([*names, "cup/a", "mug/id0003"]))
    (folder / "mine.json").write_text(json.dumps(["cup/b", "mug/id0001", "mug/nowhere"]))
    leaks = {(leak.kind, leak.names, leak.splits) for leak in find_leaks(tmp_path)}
    assert leaks == {
        ("twice", ("mug/id0003",), ("train",)),
        ("twice", ("mug/id0001",), ("mine", "train")),
        ("unknown", ("mug/nowhere",), ("mine",)),
        ("source", ("cup/a", "cup/b"), ("mine", "train")),
    }
    assert main(["splits", str(tmp_path), "--check"]) == 3
    out = capsys.readouterr().out
    assert "4 leaks" in out and "cup/a, cup/b come from one source (mine, train)" in out


@pytest.mark.parametrize("text", ["{", "{}", "[1]", '["mug"]'])
def test_broken_splits(tmp_path: Path, text: str) -> None:
    _dataset(tmp_path, ["mug/a"])
    (tmp_path / "splits").mkdir()
    (tmp_path / "splits" / "train.json").write_text(text)
    with pytest.raises(FormatError, match=r"train\.json"):
        make_splits(tmp_path, options=SplitsOptions())


@pytest.mark.parametrize("text", ["{", "[]", '{"groups": [1]}', '{"groups": [[1]]}'])
def test_broken_duplicates(tmp_path: Path, text: str) -> None:
    _dataset(tmp_path, ["mug/a"])
    (tmp_path / "duplicates.json").write_text(text)
    with pytest.raises(FormatError, match=r"duplicates\.json"):
        make_splits(tmp_path, options=SplitsOptions())


@settings(max_examples=100, deadline=None)
@given(pairs=st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from("abcdefgh")), max_size=12))
def test_groups(pairs: list[tuple[str, str]]) -> None:
    plain = [{a, b} for a, b in pairs]
    for _ in plain:
        for one in plain:
            for other in plain:
                if one & other:
                    one |= other
                    other |= one
    assert set(connected(pairs)) == {tuple(sorted(group)) for group in plain}
