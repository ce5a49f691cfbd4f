"""Shards: exact inverses, the same bytes, continued after a kill, read by webdataset and by offset."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import fakes
from tests.released import write_mvimgnet, write_mvimgnet2, write_mvpnet, zip_tree
from walkaround.cli import main
from walkaround.dataset.readers import Dataset
from walkaround.dataset.shards import ShardOptions, Shards, unpack_shards, write_shards
from walkaround.dataset.shards.layout import member_suffixes, sample_key
from walkaround.errors import FormatError, InUse, UsageError
from walkaround.geometry import project, transform_points
from walkaround.io.locks import locked
from walkaround.pipeline import BuildOptions, build_sequence


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep indexes out of the user's cache."""
    monkeypatch.setenv("WALKAROUND_CACHE", str(tmp_path / "cache"))


def contents(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


def build_own(root: Path, sources: Path, names: tuple[str, ...] = ("one", "two", "three")) -> None:
    for name in names:
        (sources / name).write_bytes(name.encode())
        build_sequence(sources / name, root, options=BuildOptions(class_label="mug", instance_id=name))


# --- the inverse ---


def test_a_download_comes_back(tmp_path: Path) -> None:
    write_mvimgnet2(tmp_path / "root", ("240/1a00b1", "240/1a00b2", "301/1a00b3"))
    write_mvpnet(tmp_path / "root", ("240/1a00b1", "99/0a002697"))
    written = write_shards(Dataset(tmp_path / "root"), tmp_path / "out")
    assert (written.num_scenes, written.num_shards) == (4, 1)
    unpacked = unpack_shards(tmp_path / "out", tmp_path / "back")
    assert contents(tmp_path / "back") == contents(tmp_path / "root")
    assert unpacked.num_files == len(contents(tmp_path / "root"))


def test_our_own_comes_back_with_its_catalogue(fake_stages: ModuleType, tmp_path: Path) -> None:
    root = tmp_path / "root"
    fake_stages.scores["capture"] = {"num_source_frames": 100.0, "duration_s": 10.0}
    build_own(root, tmp_path, ("one", "two"))
    fake_stages.scores["cameras"] = {"registered_share": 0.1}
    build_own(root, tmp_path, ("three",))
    (root / "splits").mkdir()
    (root / "splits" / "train.json").write_text('["mug/one"]')
    write_shards(Dataset(root, statuses=None), tmp_path / "all")
    unpack_shards(tmp_path / "all", tmp_path / "back")
    assert contents(tmp_path / "back") == {k: v for k, v in contents(root).items() if not k.startswith(".")}
    write_shards(Dataset(root), tmp_path / "accepted")
    unpack_shards(tmp_path / "accepted", tmp_path / "part")
    part = Dataset(tmp_path / "part", statuses=None)
    assert part.keys() == ["mug/one", "mug/two"] and part.split("train").keys() == ["mug/one"]
    assert part["one"].record == Dataset(root)["one"].record


def test_masks_of_a_tree_and_files_of_archives_come_together(tmp_path: Path) -> None:
    masks = write_mvimgnet(tmp_path / "mvi")
    packed = zip_tree(tmp_path / "mvi", tmp_path / "mvi_00.zip")
    write_shards(Dataset(packed, masks=masks), tmp_path / "out")
    unpack_shards(tmp_path / "out", tmp_path / "back")
    expected = contents(tmp_path / "mvi")
    for path, data in contents(masks).items():
        label, instance_id, name = path.split("/")
        expected[f"{label}/{instance_id}/masks/{name}"] = data
    assert contents(tmp_path / "back") == expected


NAMES = st.text(
    st.characters(exclude_characters="/\\\0", exclude_categories=("Cs",)), min_size=1, max_size=12
).filter(lambda name: not name.startswith(".") and len(name.encode()) < 60)
FILES = st.dictionaries(
    st.tuples(st.sampled_from(["images", "masks", "sparse/0", "depth", "images/a.b"]), NAMES),
    st.binary(max_size=700),
    min_size=1,
    max_size=5,
)
SCENES = st.dictionaries(st.tuples(NAMES, NAMES), FILES, min_size=1, max_size=4)


@settings(max_examples=20, deadline=None)
@given(SCENES)
def test_any_names_and_bytes_come_back(
    tmp_path_factory: pytest.TempPathFactory, scenes: dict[tuple[str, str], dict[tuple[str, str], bytes]]
) -> None:
    base = tmp_path_factory.mktemp("any")
    root = base / "root"
    for key, files in scenes.items():
        for (folder, name), data in files.items():
            path = root.joinpath(*key, folder, name)
            if path.is_dir() or (path.parent.exists() and not path.parent.is_dir()):
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    try:
        dataset = Dataset(root, masks=None, index=base / "index.parquet")
    except FormatError:  # every name was one that the layouts leave out
        return
    write_shards(dataset, base / "out")
    unpack_shards(base / "out", base / "back")
    kept = {name: data for name, data in contents(root).items() if "/".join(name.split("/")[:2]) in dataset}
    assert contents(base / "back") == kept
    with tarfile.open(base / "out" / "shard-000000.tar") as archive:
        names = archive.getnames()
    assert len(set(names)) == len(names) and all(name.isascii() for name in names)


def test_member_names() -> None:
    assert sample_key("a.b c", "é") == "a%2Eb%20c/%C3%A9"
    assert member_suffixes(["images/001.JPG", "images/001.jpg", "scene.json", "a/é"]) == [
        "images.001.jpg",
        "2.images.001.jpg",
        "2.scene.json",
        "a._",
    ]


def test_a_damaged_shard_is_named(tmp_path: Path) -> None:
    write_mvimgnet2(tmp_path / "root")
    write_shards(Dataset(tmp_path / "root"), tmp_path / "out")
    shard = tmp_path / "out" / "shard-000000.tar"
    whole = shard.read_bytes()
    place = whole.index((tmp_path / "root/240/1a00b1/images/004.jpg").read_bytes()) + 50
    shard.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
    with pytest.raises(FormatError, match=r"240/1a00b1/images/004\.jpg in .*shard-000000.*checksum"):
        unpack_shards(tmp_path / "out", tmp_path / "back")
    shard.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FormatError, match="cut off"):
        Shards(tmp_path / "out")["301/1a00b2"].read_image("009.jpg")
    shard.unlink()
    with pytest.raises(FormatError, match=r"shard-000000\.tar cannot be read"):
        Shards(tmp_path / "out")[0]


# --- reading ---


def test_a_scene_of_a_shard_is_a_scene(tmp_path: Path) -> None:
    write_mvimgnet2(tmp_path / "root")
    dataset = Dataset(tmp_path / "root")
    write_shards(dataset, tmp_path / "out")
    shards = Shards(tmp_path / "out")
    assert shards.keys() == dataset.keys() and shards.classes == dataset.classes
    for key in shards.keys():  # noqa: SIM118  a sequence of scenes, no dict
        mine, theirs = shards[key], dataset[key]
        assert (mine.class_id, mine.class_name) == (theirs.class_id, theirs.class_name)
        assert mine.image_names == theirs.image_names
        for one, other in zip(mine.views, theirs.views, strict=True):
            assert one.camera == other.camera and one.frame == other.frame
            np.testing.assert_array_equal(one.cam_from_world, other.cam_from_world)
        np.testing.assert_array_equal(mine.read_image("003.jpg"), theirs.read_image("003.jpg"))
        np.testing.assert_array_equal(mine.read_mask("003.jpg"), theirs.read_mask("003.jpg"))
        head = shards.files(shards.keys().index(key)).head
        assert head.images == tuple(view.frame.image for view in theirs.views)
        rows, columns = np.nonzero(theirs.read_mask("001.jpg"))
        box = (columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1)
        assert head.boxes_xywh[0] == box
    with pytest.raises(KeyError, match="no scene"):
        shards["1/none"]
    with pytest.raises(IndexError, match="2 scenes"):
        shards[2]
    assert shards[-1].key == shards[1:][0].key == "301/1a00b2"


def test_packed_masks_are_those_of_the_files(tmp_path: Path) -> None:
    write_mvimgnet2(tmp_path / "root")
    path = tmp_path / "root/240/1a00b1/masks/002.png"
    mask = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    mask[:5] = 0  # a box that is not the whole image
    cv2.imwrite(str(path), mask)
    cv2.imwrite(str(path.with_name("003.png")), np.zeros_like(mask))
    path.with_name("004.png").unlink()
    write_shards(Dataset(tmp_path / "root"), tmp_path / "out")
    files = Shards(tmp_path / "out").files(0)
    np.testing.assert_array_equal(files.read_packed_mask(1), mask)
    assert files.read_packed_mask(2) is files.read_packed_mask(3) is None
    assert files.head.boxes_xywh[2] is files.head.boxes_xywh[3] is None
    place = files.head.masks[1]
    assert place is not None and (place.left, place.top, place.height) == (0, 5, fakes.HEIGHT - 5)
    shard = tmp_path / "out" / "shard-000000.tar"
    data = bytearray(shard.read_bytes())
    data[files.start + place.offset] ^= 255
    shard.write_bytes(data)
    with pytest.raises(FormatError, match=r"002\.jpg.*packed mask is damaged"):
        Shards(tmp_path / "out").files(0).read_packed_mask(1)


def test_the_index_gives_the_place_of_every_file(tmp_path: Path) -> None:
    """A tool that knows nothing but Parquet finds one image."""
    import duckdb

    write_mvimgnet2(tmp_path / "root")
    write_shards(Dataset(tmp_path / "root"), tmp_path / "out")
    index = tmp_path / "out" / "index.parquet"
    found = duckdb.sql(
        f"SELECT file.start, file.size FROM (SELECT instance_id, unnest(files) AS file FROM '{index}')"
        " WHERE instance_id = '1a00b2' AND file.path = 'images/007.jpg'"
    ).fetchall()
    ((start, size),) = found
    data = (tmp_path / "out" / "shard-000000.tar").read_bytes()[start : start + size]
    assert data == (tmp_path / "root/301/1a00b2/images/007.jpg").read_bytes()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it leaves the tar open
def test_webdataset_reads_shards(tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    write_mvimgnet2(tmp_path / "root", ("240/1a.00b1", "301/1a00b2"))
    write_shards(Dataset(tmp_path / "root"), tmp_path / "out")
    samples = list(webdataset.WebDataset(str(tmp_path / "out" / "shard-000000.tar"), shardshuffle=False))
    assert [sample["__key__"] for sample in samples] == ["240/1a%2E00b1", "301/1a00b2"]
    for sample, key in zip(samples, ("240/1a.00b1", "301/1a00b2"), strict=True):
        image = (tmp_path / "root" / key / "images" / "002.jpg").read_bytes()
        assert sample["images.002.jpg"] == image
        head = json.loads(sample["scene.json"])
        assert f"{head['class_label']}/{head['instance_id']}" == key
        assert len(head["cam_from_world"]) == len(head["images"]) == 9


def test_broken_cameras_are_packed_and_named(tmp_path: Path) -> None:
    write_mvimgnet2(tmp_path / "root")
    images = tmp_path / "root/240/1a00b1/sparse/0/images.bin"
    images.write_bytes(images.read_bytes()[:300])
    written = write_shards(Dataset(tmp_path / "root"), tmp_path / "out")
    assert written.num_with_problems == 1
    shards = Shards(tmp_path / "out")
    assert "cut off" in shards.files(0).head.problem and shards.files(1).head.problem == ""
    assert shards.counts("num_views").tolist() == [0, 9]
    unpack_shards(tmp_path / "out", tmp_path / "back")
    assert contents(tmp_path / "back") == contents(tmp_path / "root")


def test_a_url_is_read_by_ranges(tmp_path: Path) -> None:
    write_mvimgnet2(tmp_path / "root")
    write_shards(Dataset(tmp_path / "root"), tmp_path / "out")
    shards = Shards(f"file://{tmp_path / 'out'}")
    expected = (tmp_path / "root/301/1a00b2/images/007.jpg").read_bytes()
    assert shards["301/1a00b2"].image_bytes("007.jpg") == expected
    with pytest.raises(FormatError, match="no finished shards"):
        Shards(f"file://{tmp_path / 'none'}")


# --- writing ---


def test_the_same_bytes_in_shards_of_any_size(tmp_path: Path) -> None:
    """Scenes of about 400 KB each: two fit into a shard of 1 MB."""
    rng = np.random.default_rng(0)
    keys = ("240/1a00b1", "240/1a00b2", "240/1a00b3", "240/1a00b4", "301/1a00b5")
    write_mvimgnet2(tmp_path / "root", keys)
    for key in keys:
        (tmp_path / "root" / key / "images" / "note.txt").write_bytes(rng.bytes(300_000))
    options = ShardOptions(size_mb=1)
    for name in ("one", "two"):
        written = write_shards(Dataset(tmp_path / "root"), tmp_path / name, options=options)
    assert written.num_shards == 3 and written.num_scenes == 5
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert all(path.stat().st_size <= (1 << 20) + 12_000 for path in (tmp_path / "one").glob("*.tar"))
    assert Shards(tmp_path / "one").shard_of.tolist() == [0, 0, 1, 1, 2]
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "one").iterdir()}
    write_shards(Dataset(tmp_path / "root"), tmp_path / "one", options=options)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "one").iterdir()} == before


KILLED = """
import os, sys
from pathlib import Path
from walkaround.dataset.readers import Dataset
from walkaround.dataset.shards import ShardOptions, write, unpack_shards
steps = int(sys.argv[4])
def count(share):
    global steps
    steps -= 1
    if steps < 0:
        os._exit(9)
if sys.argv[1] == "shard":
    write.write_shards(Dataset(sys.argv[2]), Path(sys.argv[3]), options=ShardOptions(size_mb=1),
    progress=count)
else:
    unpack_shards(sys.argv[2], Path(sys.argv[3]), progress=count)
"""


def test_a_kill_leaves_nothing_half_and_the_next_run_continues(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    keys = tuple(f"240/1a00b{number}" for number in range(5))
    write_mvimgnet2(tmp_path / "root", keys)
    for key in keys:
        (tmp_path / "root" / key / "images" / "note.txt").write_bytes(rng.bytes(300_000))
    options = ShardOptions(size_mb=1)
    write_shards(Dataset(tmp_path / "root"), tmp_path / "whole", options=options)

    def killed(what: str, source: str, out: str, steps: int) -> None:
        command = [
            sys.executable,
            "-c",
            KILLED,
            what,
            str(tmp_path / source),
            str(tmp_path / out),
            str(steps),
        ]
        assert subprocess.run(command).returncode == 9

    killed("shard", "root", "out", 4)
    assert (tmp_path / "out" / "shard-000000.tar").is_file()
    assert not (tmp_path / "out" / "shard-000002.tar").exists()
    with pytest.raises(FormatError, match="no finished shards"):
        Shards(tmp_path / "out")
    first = (tmp_path / "out" / "shard-000000.tar").stat().st_mtime_ns
    (tmp_path / "out" / ".shard-000001.77.tmp.tar").write_bytes(b"half")
    write_shards(Dataset(tmp_path / "root"), tmp_path / "out", options=options)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    assert (tmp_path / "out" / "shard-000000.tar").stat().st_mtime_ns == first
    killed("unshard", "out", "back", 3)
    assert len(list((tmp_path / "back" / "240").iterdir())) == 3
    unpack_shards(tmp_path / "out", tmp_path / "back")
    assert contents(tmp_path / "back") == contents(tmp_path / "root")


def test_what_lies_there_is_not_overwritten(tmp_path: Path) -> None:
    write_mvimgnet2(tmp_path / "root")
    dataset, out = Dataset(tmp_path / "root"), tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(UsageError, match="other files"):
            write_shards(dataset, out, overwrite=overwrite)
    with pytest.raises(UsageError, match="other files"):
        unpack_shards_of(dataset, tmp_path, out)
    (out / "thesis.txt").unlink()
    write_shards(dataset, out)
    with pytest.raises(UsageError, match=r"other scenes or options.*--overwrite"):
        write_shards(dataset[:1], out)
    write_shards(dataset[:1], out, overwrite=True)
    assert Shards(out).keys() == ["240/1a00b1"]
    with locked(tmp_path / ".out.lock", wait=False, message=""), pytest.raises(InUse, match="packs there"):
        write_shards(dataset[:1], out)
    with pytest.raises(FormatError, match="no scenes to pack"):
        write_shards(dataset[:0], tmp_path / "none")


def unpack_shards_of(dataset: Dataset, tmp_path: Path, root: Path) -> None:
    write_shards(dataset, tmp_path / "others")
    unpack_shards(tmp_path / "others", root)


def test_resized_shards_show_the_same(fake_stages: ModuleType, tmp_path: Path) -> None:
    build_own(tmp_path / "root", tmp_path, ("one",))
    dataset = Dataset(tmp_path / "root")
    write_shards(dataset, tmp_path / "out", options=ShardOptions(resize=31, jpeg_quality=100))
    large, small = dataset[0], Shards(tmp_path / "out")[0]
    assert small.read_image("001.jpg").shape == (31, 41, 3)
    depth, (full, valid) = small.read_depth("002.jpg"), large.read_depth("002.jpg") or (None, None)
    assert depth is not None and full is not None and valid is not None and depth[0].shape == (31, 41)
    assert set(np.unique(depth[0])) <= set(np.unique(full))
    expected = cv2.resize(large.read_image("002.jpg"), (41, 31), interpolation=cv2.INTER_AREA)
    assert np.abs(small.read_image("002.jpg").astype(int) - expected).mean() < 3
    points = np.random.default_rng(0).normal(0, 0.2, (20, 3))
    head = Shards(tmp_path / "out").files(0).head
    for number, (one, other) in enumerate(zip(small.views, large.views, strict=True)):
        assert one.camera == head.cameras[number]
        np.testing.assert_allclose(one.cam_from_world, other.cam_from_world, atol=1e-12)
        mine = project(one.camera, transform_points(one.cam_from_world, points))
        theirs = project(other.camera, transform_points(other.cam_from_world, points))
        np.testing.assert_allclose(mine, theirs * [41 / fakes.WIDTH, 31 / fakes.HEIGHT], atol=1e-9)
    with pytest.raises(UsageError, match="resized for training"):
        unpack_shards(tmp_path / "out", tmp_path / "back")


def test_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_mvimgnet2(tmp_path / "root")
    root, out, back = (str(tmp_path / name) for name in ("root", "out", "back"))
    assert main(["shard", root, out, "--where", "instance_id = '1a00b2'", "--size-mb", "64"]) == 0
    assert capsys.readouterr().out.startswith("1 scene in 1 shard, ")
    assert main(["shard", root, out, "--resize", "40", "--overwrite", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["num_scenes"] == 2
    assert main(["unshard", out, back]) == 2
    assert "resized for training" in capsys.readouterr().err
    assert main(["shard", root, out, "--overwrite"]) == 0
    assert main(["unshard", out, back]) == 0
    assert "2 scenes, 46 files" in capsys.readouterr().out
    assert contents(tmp_path / "back") == contents(tmp_path / "root")
    assert main(["shard", root, str(tmp_path / "x"), "--resize", "2"]) == 2
