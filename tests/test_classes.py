"""Class tables: MVImgNet's own, files, names that stand for a class."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from walkaround.dataset.classes import ClassTable, check_class_label, load_class_table
from walkaround.errors import UsageError


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("label\nmug\ncup\n", ("mug", "cup")),
        ("id,Label\n1,mug\n2,cup\n", ("mug", "cup")),
        ("mug\ncup\n\nmug\n", ("mug", "cup")),
        ("\ufefflabel;x\nTasse;1\n".replace(";", ","), ("Tasse",)),
        ('1,label\n7,"two, words"\n', ("two, words",)),
        ('"a, b"\nc\n', ("a, b", "c")),
    ],
)
def test_class_tables(tmp_path: Path, text: str, labels: tuple[str, ...]) -> None:
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    assert load_class_table(tmp_path / "t.csv").labels == labels


@pytest.mark.parametrize("data", [b"", b"label\n", b"\xff\xfe\x00", b"\n\n"])
def test_useless_class_tables(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "t.csv").write_bytes(data)
    with pytest.raises(UsageError, match="--classes"):
        load_class_table(tmp_path / "t.csv")
    with pytest.raises(UsageError, match="cannot be read"):
        load_class_table(tmp_path / "missing.csv")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("id,name\n1,mug\n", "no column 'label'; its first line holds 'id', 'name'"),
        ("mug\ncup,2\n", "its first line holds 'mug'"),
        ("label;id\nmug;1\n", "by commas, not by semicolons"),
        ("label\tid\nmug\t1\n", "by commas, not by tabs"),
    ],
)
def test_tables_without_a_column_label(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=said):
        load_class_table(tmp_path / "t.csv")


def _table(tmp_path: Path, text: str) -> ClassTable:
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    return load_class_table(tmp_path / "t.csv")


def test_unknown_labels_name_the_nearest(tmp_path: Path) -> None:
    table = _table(tmp_path, "mug\nteapot\n")
    with pytest.raises(UsageError, match="Did you mean 'teapot'"):
        table.resolve("Tea pot")
    with pytest.raises(UsageError, match=r"It knows 'a0'.* and 3 more"):
        _table(tmp_path, "\n".join(f"a{i}" for i in range(8))).resolve("zzz")


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("mug", "mug"),
        (" Mug", "mug"),
        ("17", "mug"),
        ("cup", "mug"),
        ("BIG_CUP", "big cup"),
        ("mug (17)", "mug"),
    ],
)
def test_names_that_stand_for_a_class(tmp_path: Path, name: str, label: str) -> None:
    table = _table(tmp_path, "id,label,aliases\n17,mug,cup; beaker\n18,big cup,\n")
    assert table.resolve(name) == label
    assert table.ids == {"mug": "17", "big cup": "18"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("id,label\n1,mug\n2,mug\n", "'mug' has two ids, '1' and '2'"),
        ("id,label\n1,mug\n1,cup\n", "'1' stands for 'mug' and 'cup'"),
        ("label\nmug\na/b\n", "'a/b' cannot name a folder: it holds a path separator"),
        ("label\nSplits\n", "used by the dataset itself"),
    ],
)
def test_tables_that_contradict_themselves(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        _table(tmp_path, text)


def test_labels_that_differ_in_case_only(tmp_path: Path) -> None:
    table = _table(tmp_path, "Polish\npolish\n")
    assert table.resolve("polish") == "polish" and table.resolve("Polish") == "Polish"
    with pytest.raises(UsageError, match=r"may mean several classes.*'Polish' or 'polish'"):
        table.resolve("POLISH")


def test_a_missing_file_names_the_tables(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="one of the names mvimgnet, mvimgnet2"):
        load_class_table("imagenet")


@pytest.mark.parametrize(("name", "count"), [("mvimgnet", 238), ("mvimgnet2", 515)])
def test_own_tables(name: str, count: int) -> None:
    table = load_class_table(name)
    assert table == {"mvimgnet": ClassTable.mvimgnet, "mvimgnet2": ClassTable.mvimgnet2}[name]()
    assert len(table.entries) == len(table.ids) == len(set(table.ids.values())) == count
    assert len({label.casefold() for label in table.labels}) == count  # also on a disk that ignores case
    for entry in table.entries:
        assert check_class_label(entry.label) == entry.label
        assert table.resolve(entry.label) == table.resolve(str(entry.class_id)) == entry.label


def test_repeated_names_are_told_apart() -> None:
    table = ClassTable.mvimgnet2()
    assert table.resolve("570") == "Origami frog (570)" and table.resolve("571") == "Origami frog (571)"
    with pytest.raises(UsageError, match=r"Write 'Origami frog \(570\)' or 'Origami frog \(571\)'"):
        table.resolve("origami frog")
    with pytest.raises(UsageError, match=r"'Shovel \(214\)' or 'shovel \(510\)'"):
        table.resolve("Shovel")
    assert ClassTable.mvimgnet().resolve("Shovel (214)") == "Shovel"


def test_misspelt_labels_are_aliases() -> None:
    for table in (ClassTable.mvimgnet(), ClassTable.mvimgnet2()):
        assert table.resolve("wahser") == "washer" and table.resolve("caninet") == "cabinet"
    with pytest.raises(UsageError, match="Did you mean 'motorcycle'"):
        ClassTable.mvimgnet().resolve("motorcicle")


@pytest.mark.data
def test_own_tables_hold_what_was_released(test_data: Path) -> None:
    lines = (test_data / "mvimgnet" / "mvimgnet_category.txt").read_text().splitlines()
    first = dict(line.split(",", 1) for line in lines)
    second = json.loads((test_data / "mvimgnet" / "mvimgnet2_category.json").read_text())
    for table, released in ((ClassTable.mvimgnet(), first), (ClassTable.mvimgnet2(), second)):
        assert {entry.class_id for entry in table.entries} == set(released)
        for entry in table.entries:
            names = {" ".join(name.split()) for name in (entry.label, *entry.aliases)}
            assert " ".join(released[str(entry.class_id)].split()) in names
