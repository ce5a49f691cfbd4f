"""Manifests and folder trees: what is read, what is refused, what is left out."""

from __future__ import annotations

import csv
import io
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from walkaround.dataset.classes import ClassTable
from walkaround.dataset.manifest import CaptureEntry, is_batch, read_captures
from walkaround.errors import UsageError


@pytest.fixture
def warned(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    monkeypatch.setattr(logging.getLogger("walkaround"), "propagate", True)
    return caplog


def _manifest(folder: Path, text: str | bytes, name: str = "m.csv") -> Path:
    (folder / "a.mp4").touch()
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def _read(folder: Path, text: str | bytes, name: str = "m.csv") -> list[tuple[object, ...]]:
    entries = read_captures(_manifest(folder, text, name))
    return [(e.relative, e.class_label, e.instance_id, e.licence, e.consent) for e in entries]


FULL = ("a.mp4", "mug", "m-1", "CC-BY-4.0", True)


@pytest.mark.parametrize(
    "text",
    [
        "source,class_label,instance_id,licence,consent\na.mp4,mug,m-1,CC-BY-4.0,yes\n",
        "\ufeffPath , CLASS,Instance,license,collector_consent\r\n\r\n a.mp4 ,mug,m-1,CC-BY-4.0,TRUE\r\n\r\n",
        'url;label;instance_id;licence;consent\n"a.mp4";mug;m-1;"CC-BY-4.0";1\n;;;;\n',
        "source\tclass_label\tinstance_id\tlicence\tconsent\na.mp4\tmug\tm-1\tCC-BY-4.0\ty",
        'consent,licence,instance_id,class_label,source\n"yes"," CC-BY-4.0\n",m-1,mug,./x/../a.mp4\n',
    ],
)
def test_spellings_of_one_row(tmp_path: Path, text: str) -> None:
    assert _read(tmp_path, text) == [FULL]


def test_tsv(tmp_path: Path) -> None:
    text = "source\tclass_label\na, b.mp4\tmug\na.mp4\tcup\n"
    assert [row[:2] for row in _read(tmp_path, text, "m.TSV")] == [("a, b.mp4", "mug"), ("a.mp4", "cup")]


def test_parquet(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    path = tmp_path / "m.parquet"
    values = "('a.mp4', 7, true, 'x'), ('s3://b/c', 8, NULL, '')"
    duckdb.sql(f"SELECT * FROM (VALUES {values}) AS t(url, class, consent, o)").write_parquet(str(path))
    entries = read_captures(path)
    assert [(e.source, e.class_label, e.consent) for e in entries] == [
        (str(tmp_path / "a.mp4"), "7", True),
        ("s3://b/c", "8", None),
    ]
    path.write_bytes(b"PAR1 nonsense")
    with pytest.raises(UsageError, match="not a readable Parquet file"):
        read_captures(path)


def test_sources(tmp_path: Path) -> None:
    _manifest(tmp_path, "")
    rows = ["a.mp4", "/abs/b.mp4", "../c.mp4", "https://host/d.mp4?x=1", "s3://bucket/e"]
    text = "source,class_label\n" + "".join(f"{row},mug\n" for row in rows)
    entries = read_captures(_manifest(tmp_path, text))
    assert [entry.source for entry in entries] == [
        str(tmp_path / "a.mp4"), "/abs/b.mp4", str(tmp_path.parent / "c.mp4"), rows[3], rows[4],
    ]  # fmt: skip
    assert [entry.is_url for entry in entries] == [False, False, False, True, True]
    assert [entry.relative for entry in entries][:2] == ["a.mp4", "/abs/b.mp4"]


def test_keys_stay_when_a_collection_moves(tmp_path: Path) -> None:
    text = "source,class_label,instance_id\na.mp4,mug,\nb.mp4,mug,\nc.mp4,cup,x\n"
    (tmp_path / "old").mkdir()
    before = [entry.key for entry in read_captures(_manifest(tmp_path / "old", text))]
    shutil.move(tmp_path / "old", tmp_path / "new")
    assert [entry.key for entry in read_captures(tmp_path / "new" / "m.csv")] == before
    assert len(set(before)) == 3 and all(len(key) == 12 and int(key, 16) >= 0 for key in before)
    other = read_captures(_manifest(tmp_path / "new", text.replace("mug", "cup")))
    assert [entry.key for entry in other][:2] != before[:2] and other[2].key == before[2]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("source,class_label,consent\na.mp4,mug,maybe\n", "line 2, column consent: 'maybe' is neither"),
        ("source,class_label\n,mug\n", "line 2, column source: it is empty"),
        ("source,class_label\n\na.mp4,\n", "line 3, column class_label: '' cannot name a folder"),
        (
            "source,class_label\na.mp4,a/b\n",
            "column class_label: 'a/b' cannot name a folder: it holds a path",
        ),
        ("source,class_label,instance_id\na.mp4,mug,../x\n", r"column instance_id: '\.\./x'"),
        ("source,class_label,instance_id\na.mp4,mug,batch\n", "work in progress"),
        (
            "source,class_label\na.mp4,mug\nb.mp4,mug\n./a.mp4,cup\n",
            "line 4, .*'a.mp4' stands in line 2 already",
        ),
        (
            "source,class_label,instance_id\na.mp4,mug,A\nb.mp4,cup,a\n",
            "line 3, .*'a' stands in line 2 already",
        ),
        ("source,class_label\na.mp4,mug,3\n", "line 2: it has 3 cells, the header has 2"),
        ('source,class_label\n"a\nb.mp4",mug\nc,mug,3\n', "(?s)line 2, column source.*line 4: it has 3"),
        ("source,class_label,licence\na.mp4,mug," + "x" * 300, "column licence"),
        ('source,class_label\n"a.mp4,mug\n', "this is no CSV"),
        ("path,url,class_label\na,b,mug\n", "two columns for source: 'path' and 'url'"),
        ("file,class_label\na.mp4,mug\n", "no column for the captures; its header has 'file', 'class_label'"),
        ("", "no column for the captures; its header has nothing"),
        ("source\na.mp4\n", "no column class_label"),
        ("source,class_label\n", "lists no capture"),
        (b"source,class_label\n\xff\xfe,mug\n", "not UTF-8"),
        ("source,class_label\nnowhere.mp4,mug\n", "cannot be found.*Relative paths start at"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str | bytes, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        _read(tmp_path, text)


def test_all_wrong_rows_are_named_at_once(tmp_path: Path) -> None:
    rows = "".join(f"v{i}.mp4,{'mug' if i % 2 else 'a/b'},maybe\n" for i in range(50))
    with pytest.raises(UsageError) as caught:
        _read(tmp_path, "source,class_label,consent\na.mp4,mug,no\n" + rows)
    lines = str(caught.value).splitlines()
    assert "50 of 51 entries are wrong" in lines[0] and len(lines) == 22 and "first 20" in lines[-1]
    assert "line 3, column class_label" in lines[1] and "line 3, column consent" in lines[2]


def test_labels_come_from_the_table(tmp_path: Path) -> None:
    path = _manifest(tmp_path, "source,class_label\na.mp4,17\nb.mp4,Wahser\nc.mp4,toy_cat\n")
    entries = read_captures(path, classes=ClassTable.mvimgnet())
    assert [entry.class_label for entry in entries] == ["mug", "washer", "toy cat"]
    _manifest(tmp_path, "source,class_label\na.mp4,17\nb.mp4,motorcicle\n")
    with pytest.raises(UsageError, match=r"line 3, column class_label: .*Did you mean 'motorcycle'"):
        read_captures(path, classes=ClassTable.mvimgnet())


def test_the_option_names_the_class_of_rows_without_one(tmp_path: Path) -> None:
    path = _manifest(tmp_path, "source,class_label\na.mp4,\nb.mp4,cup\n")
    assert [entry.class_label for entry in read_captures(path, class_label="mug")] == ["mug", "cup"]
    path = _manifest(tmp_path, "source\na.mp4\n")
    assert read_captures(path, class_label="mug")[0].class_label == "mug"


def test_unknown_columns_are_warned_about(tmp_path: Path, warned: pytest.LogCaptureFixture) -> None:
    assert _read(tmp_path, "source,class_label,colour,Consnt\na.mp4,mug,red,no\n")[0][4] is None
    assert "mean nothing here and are not read: 'colour', 'Consnt'" in warned.text


@settings(max_examples=150, deadline=None)
@given(data=st.binary(max_size=80) | st.text(max_size=80).map(str.encode))
def test_any_bytes_give_entries_or_a_usage_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    folder = tmp_path_factory.mktemp("any")
    for head, name in ((b"source,class_label\n", "m.csv"), (b"", "m.csv"), (b"", "m.parquet")):
        try:
            entries = read_captures(_manifest(folder, head + data, name))
        except UsageError:
            continue
        assert entries and all(entry.source and entry.class_label for entry in entries)


cell = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=10)
rows = st.lists(
    st.tuples(
        cell.map(str.strip).filter(
            lambda text: text.strip("./") and "//" not in text and "\ufeff" not in text
        ),
        st.sampled_from(["mug", "two words", "Tasse Müller", "a,b", '"']),
        st.none() | st.from_regex(r"[A-Za-z0-9]{1,8}", fullmatch=True).filter(lambda x: x.lower() != "batch"),
        st.none() | st.just("CC BY, 4.0"),
        st.none() | st.booleans(),
    ),
    min_size=1,
    max_size=6,
    unique_by=lambda row: row[0].strip("./"),
)


@settings(max_examples=100, deadline=None)
@given(rows=rows, separator=st.sampled_from(",;\t"), end=st.sampled_from(["\n", "\r\n"]))
def test_what_was_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[object, ...]], separator: str, end: str
) -> None:
    folder = tmp_path_factory.mktemp("written")
    ids = [str(row[2]).lower() for row in rows if row[2]]
    if len(set(ids)) < len(ids):
        rows = [(*row[:2], None, *row[3:]) for row in rows]
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=separator, lineterminator=end)
    writer.writerow(["source", "class_label", "instance_id", "licence", "consent"])
    writer.writerow([f"{folder}/a.mp4", "mug", "", "", ""])
    for row in rows:
        writer.writerow(["" if value is None else value for value in row])
    path = _manifest(folder, text.getvalue())
    try:
        entries = read_captures(path)[1:]
    except UsageError as error:  # "a" and "./a", say
        assert "already" in str(error)
        return
    assert [(e.class_label, e.instance_id, e.licence, e.consent) for e in entries] == [
        row[1:] for row in rows
    ]


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Path]:
    top = tmp_path / "tree"
    for name in ("mug/b.MP4", "mug/a.mov", "toy cat/one/1.jpg", "toy cat/one/2.jpg", "toy cat/two.zip"):
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).touch()
    (top / ".work").mkdir()
    (top / "mug" / ".DS_Store").touch()
    yield top


def _found(top: Path, **options: str) -> list[tuple[str, str]]:
    return [(entry.relative, entry.class_label) for entry in read_captures(top, **options)]  # type: ignore[arg-type]


GOOD = [
    ("mug/a.mov", "mug"),
    ("mug/b.MP4", "mug"),
    ("toy cat/one", "toy cat"),
    ("toy cat/two.zip", "toy cat"),
]


def test_tree(tree: Path, warned: pytest.LogCaptureFixture) -> None:
    assert _found(tree) == GOOD and not warned.text
    assert read_captures(tree)[0].source == str(tree / "mug" / "a.mov")
    (tree / "toy cat").rename(tree / "57")
    assert {label for _, label in ((e.relative, e.class_label) for e in read_captures(
        tree, classes=ClassTable.mvimgnet()))} == {"mug", "toy cat"}  # fmt: skip


def test_a_trees_keys_are_those_of_its_manifest(tree: Path) -> None:
    text = "source,class_label\n" + "".join(f"{source},{label}\n" for source, label in GOOD)
    (tree / "m.csv").write_text(text)
    assert [e.key for e in read_captures(tree / "m.csv")] == [e.key for e in read_captures(tree)]


def test_what_a_tree_leaves_out_is_named(tree: Path, warned: pytest.LogCaptureFixture) -> None:
    for name in ("readme.txt", "loose.mp4", "mug/notes.pdf", "mug/deep/er/c.mp4", "mug/x.jpg", "none/.keep"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).touch()
    assert _found(tree) == GOOD
    for said in (
        "files that are no video and no archive: 'readme.txt'",
        "captures outside any class folder (move them into one, or give --class-label): 'loose.mp4'",
        "photos that lie loose in a class folder (give each capture a folder of its own): 'mug'",
        "class folders without any capture: 'none'",
    ):
        assert said in warned.text
    (tree / "mug" / "x.jpg").unlink()
    warned.clear()
    assert _found(tree, class_label="cup") == [("loose.mp4", "cup"), *GOOD]
    assert "not deeper): 'mug/deep'" in warned.text and "'mug/notes.pdf'" in warned.text


def test_flat_folders_need_a_class(tmp_path: Path) -> None:
    for name in ("a.mp4", "b/1.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert _found(tmp_path, class_label="mug") == [("a.mp4", "mug"), ("b", "mug")]
    with pytest.raises(UsageError, match=r"(?s)holds no captures.*give --class-label\): 'a.mp4', 'b'"):
        read_captures(tmp_path)


def test_trees_without_captures(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing but hidden files"):
        read_captures(tmp_path)
    with pytest.raises(UsageError, match="neither a manifest"):
        read_captures(tmp_path / "missing")
    with pytest.raises(UsageError, match="cannot be read"):
        read_captures(tmp_path / "missing.csv")


def test_is_batch(tree: Path, tmp_path: Path) -> None:
    assert is_batch(tree) and is_batch(_manifest(tmp_path, "")) and is_batch("missing.parquet")
    assert not is_batch(tree / "mug" / "a.mov") and not is_batch(tree / "toy cat" / "one")
    assert not is_batch(tree / "toy cat" / "two.zip") and not is_batch(tmp_path / "nowhere")
    assert is_batch(tree / "mug") and is_batch(tree / "toy cat")  # videos, folders of photos
    (tmp_path / "empty" / "inner").mkdir(parents=True)
    assert not is_batch(tmp_path / "empty")
    (tree / "cover.jpg").touch()
    assert not is_batch(tree)


def test_entries_are_small_and_frozen() -> None:
    entry = CaptureEntry(source="/a", class_label="mug")
    assert not hasattr(entry, "__dict__")
    with pytest.raises(AttributeError):
        entry.source = "/b"  # type: ignore[misc]
