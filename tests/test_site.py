"""walkaround report: pages complete, self-contained, safe, the same twice; what is unchanged is kept."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import html
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote

import cv2
import numpy as np
import pytest

from tests import fakes
from tests.trees import tree
from walkaround.cli import main
from walkaround.dataset.catalog import apply_reviews
from walkaround.dataset.reviews import REVIEWS_NAME, Review, add_review
from walkaround.dataset.rows import CATALOG_COLUMNS, catalog_row, merge_catalog, read_catalog, write_catalog
from walkaround.dataset.schema import SequenceRecord, read_record, write_record
from walkaround.dataset.stats import read_stats
from walkaround.errors import FormatError, UsageError
from walkaround.pipeline import BuildOptions, build_sequence
from walkaround.site.build import SiteSummary, write_site
from walkaround.site.cloud import cloud_script, thinned
from walkaround.site.media import _write_sheet
from walkaround.site.options import SiteOptions
from walkaround.types import PointCloud

HOSTILE = "<img src=x onerror=alert(1)> & \"co\" 'x' #1 100% ?é"
VOID = {"meta", "img", "br", "link", "input"}
OPTIONS = SiteOptions(points=1000)


class Checked(HTMLParser):
    """Checks that elements are closed in order, keeps addresses, and what an unnamed picture or button is."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.unnamed: list[str] = []
        self.handlers: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.addresses += [value for name in ("href", "src") if (value := values.get(name))]
        self.handlers += [name for name in values if name.startswith("on")]
        if (tag == "img" and "alt" not in values) or (
            values.get("role") == "img" and not values["aria-label"]
        ):
            self.unnamed.append(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


BUILT: list[Path] = []


@pytest.fixture
def root(
    fake_stages: ModuleType,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """A dataset of three sequences, one rejected, one of a class that means harm; built once."""
    monkeypatch.setattr("walkaround.io.pointcloud.read_ply", lambda path: fakes.make_cloud())
    if not BUILT:
        folder = tmp_path_factory.mktemp("site")
        for number, label in enumerate(("mug", "mug", HOSTILE)):
            source = folder / f"{number}.mp4"
            source.write_bytes(b"a video %d" % number)
            fake_stages.scores["cameras"] = {"arc_deg": 90.0 if number else 10.0, "registered_share": 0.9}
            build_sequence(str(source), folder / "root", options=BuildOptions(class_label=label, threads=1))
        BUILT.append(folder / "root")
    return Path(shutil.copytree(BUILT[0], tmp_path / "root"))


def write(root: Path, out: Path | None = None) -> SiteSummary:
    return write_site(root, out, options=OPTIONS, num_threads=2)


def records(root: Path) -> list[SequenceRecord]:
    return [read_record(root / row["class_label"] / row["instance_id"]) for row in read_catalog(root)]


def good_mug(root: Path) -> SequenceRecord:
    return next(
        record for record in records(root) if (record.class_label, record.status) == ("mug", "accepted")
    )


def pages(out: Path) -> dict[Path, str]:
    return {path: path.read_text(encoding="utf-8") for path in sorted(out.rglob("*.html"))}


def test_pages_are_complete(root: Path) -> None:
    done = write(root)
    assert (done.num_sequences, done.num_drawn, done.num_written) == (3, 3, 3)
    found = pages(root / "report")
    assert len(found) == 2 + 2 + 3  # overview and card, classes, sequences
    for path, page in found.items():
        checked = Checked()
        checked.feed(page)
        assert checked.open == [] and checked.unnamed == []
        assert checked.handlers in ([], ["onsubmit"])
        shown = re.sub(r'<code>.*?</code>|<script type="application/ld.json">.*?</script>', "", page)
        assert "http" not in shown and "//" not in shown
        assert '<html lang="en">' in page and page.count("<h1>") == 1 and "<title>" in page
        for address in checked.addresses:
            name = unquote(address.partition("#")[0])
            assert name in ("", "data:,") or (path.parent / name).is_file(), address
    scripts = [path.read_text() for path in (root / "report").rglob("*.js")]
    assert not any("http" in script for script in scripts)


def test_a_sequences_page(root: Path) -> None:
    write(root)
    record = good_mug(root)
    folder = root / "report" / "classes" / record.class_label / record.instance_id
    page = (folder / "index.html").read_text(encoding="utf-8")
    for title in ("Object", "Cameras", "Frames and masks", "Depth", "Scores", "Time", "Files"):
        assert f"<h2>{title}</h2>" in page
    assert page.count('class="cell stills"') == fakes.NUM_FRAMES
    assert page.count('class="cell depth"') == fakes.NUM_FRAMES - 1 and page.count("not registered") == 1
    assert page.count('class="frustum"') == fakes.NUM_FRAMES - 1
    assert "1\u202f000 of 2\u202f000 points" in page or "of 2\u202f000 points" in page
    assert (
        f"../../../../{record.class_label}/{record.instance_id}/sequence.json" not in page
    )  # no stage made it
    assert f'href="../../../../{record.class_label}/{record.instance_id}/cloud.ply"' in page
    assert {path.name for path in folder.iterdir()} == {
        "index.html", "media.json", "thumb.jpg", "stills.jpg", "depth.jpg", "cloud.js", "cloud.jpg",
    }  # fmt: skip


def test_names_that_mean_harm(root: Path) -> None:
    (root / "dataset.json").write_text(
        json.dumps(
            {"schema_version": 1, "name": "<script>bad()</script>", "licence": "<i>", "description": "<u>"}
        )
    )
    write(root)
    for page in pages(root / "report").values():
        assert "<img src=x" not in page and "bad()</script>" not in page and "<i>" not in page
    script = (root / "report" / "data" / "sequences.js").read_text(encoding="ascii")
    listed = json.loads(script.removeprefix("walkaroundList(").rstrip().removesuffix(");"))
    assert listed["classes"] == sorted(["mug", HOSTILE]) and len(listed["rows"]) == 3
    assert listed["statuses"][listed["rows"][0][2]] in ("accepted", "rejected")


def test_the_same_twice(root: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        write(root, tmp_path / name)
    assert tree(tmp_path / "one") == tree(tmp_path / "two")


def test_what_is_unchanged_is_kept(root: Path) -> None:
    out = root / "report"
    write(root)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("thumb.jpg")}
    again = write(root)
    assert (again.num_drawn, again.num_written) == (0, 0)
    record = good_mug(root)
    write_record(
        root / record.class_label / record.instance_id, dataclasses.replace(record, status="rejected")
    )
    merge_catalog(root, [catalog_row(dataclasses.replace(record, status="rejected"))])
    again = write(root)
    assert (again.num_drawn, again.num_written) == (0, 1)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("thumb.jpg")} == before
    folder = out / "classes" / record.class_label / record.instance_id
    (folder / "depth.jpg").unlink()
    (out / "classes" / "mug" / "gone").mkdir()
    (out / "classes" / "gone").mkdir()
    again = write(root)
    assert (again.num_drawn, again.num_written) == (1, 1) and (folder / "depth.jpg").is_file()
    assert not (out / "classes" / "mug" / "gone").exists() and not (out / "classes" / "gone").exists()
    (folder / "media.json").write_text('{"key": 3')
    assert write(root).num_drawn == 1
    assert write_site(root, options=SiteOptions(points=0)).num_drawn == 3
    assert not list(out.glob("classes/*/*/cloud.js")), "what is no longer shown goes"


@pytest.mark.parametrize("lost", ["images", "sparse", "depth", "masks", "cloud.ply"])
def test_a_part_is_missing(root: Path, lost: str) -> None:
    record = good_mug(root)
    folder = root / record.class_label / record.instance_id
    (folder / lost).rename(folder / "elsewhere")
    assert write(root).num_drawn == 3
    page = root / "report" / "classes" / record.class_label / record.instance_id / "index.html"
    checked = Checked()
    checked.feed(page.read_text(encoding="utf-8"))
    assert checked.open == []
    assert ("missing" in page.read_text(encoding="utf-8")) == (lost == "images")


def test_a_record_is_broken(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = read_catalog(root)[-1]
    (root / row["class_label"] / row["instance_id"] / "sequence.json").write_text("{")
    assert main(["report", str(root), "--threads", "1"]) == 0
    said = capsys.readouterr()
    assert "3 sequences: 2 drawn" in said.out and "1 cannot be read" in said.err
    assert row["instance_id"] in said.err


def test_the_command(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(root), "--out", str(tmp_path / "site"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["num_drawn"] == 3
    assert (tmp_path / "site" / "index.html").is_file() and not (root / "report").exists()
    assert "cloud.ply</a>" not in "".join(pages(tmp_path / "site").values())  # it may be moved elsewhere
    assert main(["report", str(root), "--points", "100001"]) == 2
    assert "out of range" in capsys.readouterr().err


def test_a_folder_of_something_else_is_refused(root: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("all of it")
    with pytest.raises(UsageError, match="no report of walkaround"):
        write(root, tmp_path / "mine")
    with pytest.raises(FormatError, match="Build something first"):
        write(tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_no_row_leaves_the_folder(root: Path) -> None:
    rows = read_catalog(root)
    write_catalog(root, [{**rows[0], "class_label": "../../elsewhere"}])
    with pytest.raises(FormatError, match="cannot name a folder"):
        write(root)


def test_the_card(root: Path) -> None:
    keys = [f"{record.class_label}/{record.instance_id}" for record in records(root)]
    (root / "splits").mkdir()
    (root / "splits" / "train.json").write_text(json.dumps(keys[:2]))
    write(root)
    card = (root / "report" / "card.html").read_text(encoding="utf-8")
    assert "<dt>train</dt><dd>2 sequences</dd>" in card and "not stated" in card and "nobody asked: 3" in card
    assert 'href="croissant.json"' in card and "one with a table" not in card
    (root / "croissant.json").write_text("{}")  # of `walkaround export --to croissant`
    write(root)
    assert 'href="../croissant.json">one with a table' in (root / "report" / "card.html").read_text("utf-8")


def test_the_card_says_only_what_the_catalogue_bears_out(root: Path) -> None:
    """What one kind of sequence has is not said of another; numbers are those of the rows."""
    mug = catalog_row(good_mug(root))
    scores = dict(mug["scores"])
    early = {"stages_done": ["capture", "quality"], "num_frames": 0, "num_registered": 0}
    given = {name: value for name, value in scores.items() if name != "num_source_frames"}
    rows = [
        {**mug, "num_frames": 12},
        {**mug, "instance_id": "early", **early, "status": "rejected", "built_status": "rejected"},
        {**mug, "instance_id": "given", "num_frames": 40, "source_kind": "photos", "scores": given,
         "stages_done": ["capture", "frames", "cameras", "quality"], "source_duration_s": 0.0},
    ]  # fmt: skip
    for row in rows:
        row |= {name: dict.fromkeys(row["stages_done"], 1.0) for name in ("seconds", "cpu_seconds")}
    write_catalog(root, rows)
    write(root)
    value = json.loads((root / "report" / "croissant.json").read_text(encoding="utf-8"))
    how = dict(line.split(": ", 1) for line in value["rai:dataPreprocessingProtocol"])
    assert how["Frames"].startswith("12 to 40 (median 26) a sequence")
    assert "of 1 sequence: sharp stills of a video" in how["Frames"]
    assert "of 1 sequence: structure from motion" in how["Cameras"]
    assert "of 1 sequence: imported with the images" in how["Cameras"]
    assert all(how[name].startswith("of 1 sequence: ") for name in ("Depth", "Masks", "Cloud"))
    assert "HDR" not in how and value["rai:dataCollection"] == "2 videos and 1 set of photos, of objects."
    card = (root / "report" / "card.html").read_text(encoding="utf-8")
    assert "stills of 2, cameras of 2, masks of 1, depth of 1, point clouds of 1 sequences" in card

    write_catalog(root, rows[1:2])
    write(root)
    value = json.loads((root / "report" / "croissant.json").read_text(encoding="utf-8"))
    assert value["rai:dataPreprocessingProtocol"] == []
    assert not [item for item in value["distribution"] if "includes" in item]
    said = json.dumps([value["description"], value["rai:dataLimitations"]])
    assert not [word for word in ("mask", "depth", "cloud", "camera") if word in said.lower()]
    assert "No sequence has any images yet" in (root / "report" / "card.html").read_text(encoding="utf-8")


def test_split_counts_obey_decisions(root: Path) -> None:
    mug = good_mug(root)
    keys = [f"{record.class_label}/{record.instance_id}" for record in records(root)]
    (root / "splits").mkdir()
    (root / "splits" / "train.json").write_text(json.dumps([*keys, "mug/gone"]))
    review = Review(class_label="mug", instance_id=mug.instance_id, decision="reject")
    add_review(root / REVIEWS_NAME, review)
    apply_reviews(root)
    write(root)
    card = (root / "report" / "card.html").read_text(encoding="utf-8")
    assert "<dt>train</dt><dd>2 sequences</dd>" in card and "The files name 2 more" in card
    page = (root / "report" / "classes" / "mug" / mug.instance_id / "index.html").read_text(encoding="utf-8")
    assert "<dt>split</dt><dd>none</dd>" in page


def test_card_and_metadata_agree(root: Path) -> None:
    """The same name, licence, splits, limits and counts; the page holds what the file holds."""
    (root / "splits").mkdir()
    (root / "splits" / "val.json").write_text("[]")
    own = {"name": "Mugs </script>", "licence": "CC BY 4.0", "description": "Of a kitchen.", "url": "x:y"}
    (root / "dataset.json").write_text(json.dumps({"schema_version": 1, **own}))
    write(root)
    card = (root / "report" / "card.html").read_text(encoding="utf-8")
    value = json.loads((root / "report" / "croissant.json").read_text(encoding="utf-8"))
    embedded = re.search(r'<script type="application/ld.json">(.*?)</script>', card)
    assert embedded and json.loads(embedded[1]) == value
    assert (value["name"], value["license"], value["url"]) == (own["name"], own["licence"], own["url"])
    assert value["description"].startswith("Of a kitchen. ") and "3 sequences of 2 classes" in card + str(
        value
    )
    for limit in value["rai:dataLimitations"]:
        assert html.escape(limit) in card
    assert [row["splits/name"] for row in value["recordSet"][1]["data"]] == ["val"]
    for item in value["distribution"]:
        if "sha256" in item:
            data = (root / "report" / item["contentUrl"]).read_bytes()
            assert hashlib.sha256(data).hexdigest() == item["sha256"]
        else:
            assert list((root / "report").glob(item["includes"]))
    columns = [field["name"] for field in value["recordSet"][0]["field"]]
    kinds = {name: kind for name, kind in CATALOG_COLUMNS.items() if not kind.startswith("MAP")}
    assert set(columns) == set(kinds) - {"entry_key", "stages_done", "last_key"}, "a new column needs a text"


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("where", ["report", "../site"])
def test_mlcroissant_reads_the_metadata(root: Path, where: str) -> None:
    mlcroissant = pytest.importorskip("mlcroissant", reason="the package mlcroissant is not installed")
    (root / "splits").mkdir()
    (root / "splits" / "train.json").write_text("[]")
    write(root, root / where)
    dataset = mlcroissant.Dataset(jsonld=root / where / "croissant.json")
    assert not dataset.metadata.issues.errors
    rows = [
        {name.split("/")[-1]: value for name, value in row.items()}
        for row in dataset.records(record_set="sequences")
    ]
    said = {(row["class_label"].decode(), row["instance_id"].decode(), row["num_frames"]) for row in rows}
    assert said == {(row["class_label"], row["instance_id"], row["num_frames"]) for row in read_catalog(root)}
    (split,) = dataset.records(record_set="splits")
    assert split["splits/num_sequences"] == 0


def test_no_id_takes_the_place_of_a_page(root: Path) -> None:
    rows = [{**read_catalog(root)[-1], "instance_id": name} for name in ("index", "index.html", "INDEX.HTML")]
    for row in rows:
        source = root / row["class_label"] / read_catalog(root)[-1]["instance_id"]
        target = root / row["class_label"] / row["instance_id"]
        shutil.copytree(source, target)
        write_record(target, dataclasses.replace(read_record(source), instance_id=row["instance_id"]))
    merge_catalog(root, rows)
    assert write(root).num_written == 6
    label = rows[0]["class_label"]
    folder = root / "report" / "classes" / label
    assert (folder / "index.html").is_file() and f"<h1>{label}</h1>" in (folder / "index.html").read_text()
    for name in ("index", "index.html", "INDEX.HTML"):
        assert f"<code>{name}</code>" in (folder / f"_{name}" / "index.html").read_text()
    assert write(root).num_written == 0


def test_every_sequence_is_reached_without_scripts(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By plain links alone, from the first page on, also in classes of several pages."""
    monkeypatch.setattr("walkaround.site.plain_list.PAGE", 1)
    write(root)
    out = (root / "report").resolve()
    waiting, reached = [out / "index.html"], set()
    while waiting:
        path = waiting.pop()
        if path in reached:
            continue
        reached.add(path)
        checked = Checked()
        checked.feed(path.read_text(encoding="utf-8"))
        targets = (unquote(address.partition("#")[0]) for address in checked.addresses)
        waiting += [(path.parent / name).resolve() for name in targets if name.endswith(".html")]
        waiting = [path for path in waiting if path.is_relative_to(out)]
    assert reached == set(out.rglob("*.html")) and len(list(out.glob("classes/mug/_*.html"))) == 1


def test_decisions_are_shown(root: Path) -> None:
    record = good_mug(root)
    key = {"class_label": "mug", "instance_id": record.instance_id}
    write(root)
    before = read_stats(root).counts.accepted
    add_review(root / "reviews.jsonl", Review(**key, decision="reject", note="a <hand>"))
    apply_reviews(root)
    again = write(root)
    assert (again.num_drawn, again.num_written) == (0, 1)
    page = (root / "report" / "classes" / "mug" / record.instance_id / "index.html").read_text("utf-8")
    assert "Rejected by hand on 20" in page and ": a &lt;hand&gt; <small>The build: accepted." in page
    assert '<span class="pill bad">rejected</span>' in page
    assert "decided by hand" in (root / "report" / "index.html").read_text(encoding="utf-8")
    assert "1 of them decided by hand" in (root / "report" / "card.html").read_text(encoding="utf-8")
    assert read_stats(root).counts.accepted == before - 1
    add_review(root / "reviews.jsonl", Review(**key, decision="undo"))
    apply_reviews(root)
    assert write(root).num_written == 1
    page = (root / "report" / "classes" / "mug" / record.instance_id / "index.html").read_text("utf-8")
    assert "by hand" not in page


def test_a_class_that_came_meanwhile_waits(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch may write the catalogue while the report is made."""
    before = read_stats(root)
    monkeypatch.setattr("walkaround.site.build.read_stats", lambda root: before)
    merge_catalog(root, [{**read_catalog(root)[0], "class_label": "new", "instance_id": "fresh"}])
    assert write(root).num_sequences == 3 and not (root / "report" / "classes" / "new").exists()


def test_a_sheet_of_very_many_stills(tmp_path: Path) -> None:
    images = {str(number): np.full((1000, 10, 3), number % 200, np.uint8) for number in range(600)}
    sheet = _write_sheet(tmp_path / "stills.jpg", images)
    drawn = cv2.imread(str(tmp_path / "stills.jpg"))
    assert sheet is not None and drawn is not None
    wide, tall = sheet.cell_wh
    assert drawn.shape == (100 * tall, 6 * wide, 3) and 600 < tall < 660
    assert abs(int(drawn[99 * tall + tall // 2, 5 * wide + wide // 2, 0]) - 599 % 200) < 8


def test_an_empty_dataset(tmp_path: Path) -> None:
    write_catalog(tmp_path, [])
    assert write(tmp_path).num_sequences == 0
    assert "0 sequences of 0 classes" in (tmp_path / "report" / "index.html").read_text(encoding="utf-8")


def test_points_come_back() -> None:
    cloud = fakes.make_cloud()
    script = cloud_script(cloud, fakes.make_model(fakes.make_frames()), 12.0, 0.01)
    value = json.loads(script.removeprefix("walkaroundCloud(").rstrip().removesuffix(");"))
    steps = np.frombuffer(base64.b64decode(value["points"]), "<u2").reshape(-1, 3)
    points = np.array(value["low"]) + value["step"] * steps
    assert np.abs(points - cloud.points_in_world).max() < 1e-5
    normals = np.frombuffer(base64.b64decode(value["normals"]), np.int8).reshape(-1, 3) / 127
    assert cloud.normals is not None and np.abs(normals - cloud.normals).max() < 0.005
    frustum = np.array(value["cameras"][0]).reshape(5, 3)
    view = fakes.make_model(fakes.make_frames()).views[0]
    assert np.allclose(frustum[0], view.centre, atol=1e-4)
    in_camera = (frustum[1:] @ view.cam_from_world[:3, :3].T) + view.cam_from_world[:3, 3]
    pixels = in_camera @ view.camera.K.T
    corners = [[0, 0], [fakes.WIDTH, 0], [fakes.WIDTH, fakes.HEIGHT], [0, fakes.HEIGHT]]
    assert np.allclose(pixels[:, :2] / pixels[:, 2:], corners, atol=0.1)


@pytest.mark.parametrize("number", [1, 50, 500, 5000])
def test_thinned_evenly(number: int) -> None:
    """Nine tenths of the points lie in one corner; the points that stay do not."""
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.random((900, 2)) * 0.05, rng.random((2000, 2))])
    cloud = PointCloud(points_in_world=np.pad(points, ((0, 0), (0, 1))).astype(np.float32))
    kept, spacing = thinned(cloud, number)
    assert 0.5 * number < len(kept.points_in_world) <= number or len(kept.points_in_world) == len(points)
    assert spacing >= 0
    if number == 500:
        crowded = (kept.points_in_world[:, :2] < 0.05).all(axis=1).sum()
        assert crowded < 10 and 0.02 < spacing < 0.08
