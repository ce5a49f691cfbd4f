"""Decisions about sequences: written for good, joined to the catalogue, listed, filtered."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from tests.released import write_mvimgnet
from walkaround.dataset.catalog import rebuild_catalog
from walkaround.dataset.query import query_catalog
from walkaround.dataset.readers import Dataset
from walkaround.dataset.reviews import Review, add_review, read_reviews, reviews_path
from walkaround.errors import OutputError, UsageError
from walkaround.pipeline import BuildOptions, build_sequence
from walkaround.viewer.gateway import Request
from walkaround.viewer.list_answers import send_page, send_thumbnail, take_review
from walkaround.viewer.listing import PAGE, Filter, Listing


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WALKAROUND_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def ours(tmp_path: Path, fake_stages: ModuleType) -> Path:
    """A dataset of three sequences, one rejected."""
    root = tmp_path / "root"
    for name, label in (("a", "mug"), ("b", "mug"), ("c", "toy")):
        (tmp_path / f"{name}.mp4").write_bytes(name.encode())
        if name == "c":
            fake_stages.scores["cameras"] = {"registered_share": 0.1}
        build_sequence(
            tmp_path / f"{name}.mp4", root, options=BuildOptions(class_label=label, instance_id=name * 4)
        )
    return root


def review(decision: str = "accept", instance_id: str = "aaaa", label: str = "mug", **rest: str) -> Review:
    return Review(class_label=label, instance_id=instance_id, decision=decision, **rest)


def test_the_last_decision_counts(tmp_path: Path) -> None:
    path = tmp_path / "reviews.jsonl"
    assert read_reviews(path) == []
    first = add_review(path, review("reject", note="blurred – ünscharf"))
    assert first.time.endswith("Z") and len(first.time) == 20
    second = add_review(path, Review(class_label="mug", instance_id="aaaa", decision="relabel", label="cup"))
    other = add_review(path, review(instance_id="bbbb"))
    assert read_reviews(path) == [second, other]
    add_review(path, review("withdraw"))
    assert read_reviews(path) == [other]
    assert len(path.read_bytes().splitlines()) == 4  # nothing is ever rewritten


def test_undo_takes_back_the_last_one(tmp_path: Path) -> None:
    path = tmp_path / "reviews.jsonl"
    first = add_review(path, review("accept", note="fine"))
    add_review(path, review("reject"))
    add_review(path, review("undo"))
    assert read_reviews(path) == [first]
    for _ in range(2):  # more often than there is something to take back
        add_review(path, review("undo"))
        assert read_reviews(path) == []
    again = add_review(path, review("reject"))
    assert read_reviews(path) == [again]
    add_review(path, review("withdraw"))
    add_review(path, review("undo"))
    assert read_reviews(path) == []


def test_a_write_that_was_cut_off(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "reviews.jsonl"
    add_review(path, review())
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:30])
    second = add_review(path, review("reject", instance_id="bbbb"))
    assert [found.instance_id for found in read_reviews(path)] == ["aaaa", "bbbb"]
    assert read_reviews(path)[1] == second
    assert "line 2 is no decision" in caplog.text


@pytest.mark.parametrize(
    "line", ["[]", "1", '{"decision": "accept"}', '{"class_label": "a", "instance_id": 3}', "\x00"]
)
def test_lines_of_anything(tmp_path: Path, line: str) -> None:
    (tmp_path / "reviews.jsonl").write_text(line + "\n")
    assert read_reviews(tmp_path / "reviews.jsonl") == []


def test_wrong_decisions(tmp_path: Path) -> None:
    path = tmp_path / "reviews.jsonl"
    for wrong in (
        review("maybe"),
        review("relabel", instance_id="x"),
        Review(class_label="a", instance_id="b", decision="accept", label="c"),
        review(instance_id=""),
        review(note="x" * 2001),
        Review(class_label="a", instance_id="b", decision="relabel", label="../c"),
    ):
        with pytest.raises(UsageError):
            add_review(path, wrong)
    assert not path.exists()
    with pytest.raises(OutputError):
        add_review(tmp_path / "missing" / "reviews.jsonl", review())


def test_many_at_once(tmp_path: Path) -> None:
    path = tmp_path / "reviews.jsonl"

    def write(number: int) -> None:
        for item in range(20):
            add_review(path, review(instance_id=f"{number}-{item}", note="n" * 500))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(read_reviews(path)) == 80


def test_no_build_touches_them_and_queries_join_them(ours: Path, tmp_path: Path) -> None:
    path = reviews_path(ours)
    assert path == ours / "reviews.jsonl"
    add_review(path, review("reject", note="a hand"))
    before = path.read_bytes()
    (tmp_path / "d.mp4").write_bytes(b"d")
    build_sequence(tmp_path / "d.mp4", ours, options=BuildOptions(class_label="toy", instance_id="dddd"))
    (ours / "catalog.parquet").unlink()
    rebuild_catalog(ours)
    assert path.read_bytes() == before
    joined = "catalog LEFT JOIN reviews USING (class_label, instance_id)"
    with query_catalog(
        ours, f"SELECT instance_id, status, decision, note FROM {joined} ORDER BY 1"
    ) as result:
        rows = list(result.rows)
    assert rows[0] == ("aaaa", "rejected", "reject", "a hand")
    assert [row[2] for row in rows] == ["reject", None, None, None]
    assert len(Dataset(ours, statuses=None)) == 4  # no reader takes the file for a class


def test_the_list(ours: Path) -> None:
    listing = Listing(Dataset(ours, statuses=None))

    def keys(**wanted: object) -> list[str]:
        return [row["key"] for row in listing.page(Filter(**wanted), 0)["rows"]]  # type: ignore[arg-type]

    assert keys() == ["mug/aaaa", "mug/bbbb", "toy/cccc"]
    assert keys(class_label="toy") == keys(status="rejected") == keys(text="CC") == ["toy/cccc"]
    choices = listing.choices()
    assert choices["classes"] == [["mug", "mug", 2], ["toy", "toy", 1]]
    assert choices["statuses"] == ["accepted", "rejected"]
    (rejected,) = listing.page(Filter(status="rejected"), 0)["rows"]
    reason = rejected["reasons"][0]
    assert reason in choices["reasons"]
    assert keys(reason=reason) == ["toy/cccc"]
    assert "registered_share" in choices["scores"]
    assert keys(score="registered_share", high=0.5) == ["toy/cccc"]
    assert keys(score="duration_s", low=11.0) == []
    assert keys(score="registered_share", order="lowest")[0] == "toy/cccc"
    listing.review("mug/bbbb", "reject", label=None, note="blur")
    assert keys(review="reject") == keys(review="any") == ["mug/bbbb"]
    assert keys(review="none") == ["mug/aaaa", "toy/cccc"]
    (row,) = listing.page(Filter(review="reject"), 0)["rows"]
    assert (row["decision"], row["note"]) == ("reject", "blur") and row["time"]
    assert listing.page(Filter(), 2)["rows"][0]["key"] == "toy/cccc"
    assert listing.review("mug/bbbb", "undo", label=None, note="") is None
    assert keys(review="any") == []
    with pytest.raises(UsageError, match="has no scene"):
        listing.review("mug/none", "accept", label=None, note="")
    listing.close()


def test_what_browsers_send(ours: Path) -> None:
    listing = Listing(Dataset(ours, statuses=None))
    content = SimpleNamespace(scene=SimpleNamespace(key="mug/aaaa"), decided="")
    window = SimpleNamespace(content=content, panel=SimpleNamespace(write=lambda _: None))

    def get(**query: str) -> Request:
        return Request(method="GET", path="/", query=query)

    page = json.loads(send_page(listing, window, get(status="accepted")).body)  # type: ignore[arg-type]
    assert page["total"] == 2
    image = send_thumbnail(listing, window, get(key="mug/aaaa"))  # type: ignore[arg-type]
    assert image.status == 200 and image.body[:2] == b"\xff\xd8"
    (ours / "mug" / "bbbb" / "images" / "006.jpg").write_bytes(b"no image")
    broken = send_thumbnail(listing, window, get(key="mug/bbbb"))  # type: ignore[arg-type]
    assert broken.status == 200 and broken.content_type == "image/svg+xml"
    for query in ({"order": "x"}, {"low": "x"}, {"offset": "-1"}, {"offset": "9" * 20}):
        with pytest.raises(UsageError):
            send_page(listing, window, get(**query))  # type: ignore[arg-type]

    def post(value: object) -> Request:
        return Request(method="POST", path="/", query={}, body=json.dumps(value).encode())

    sent = {"key": "mug/aaaa", "decision": "relabel", "label": " cup ", "note": "has a handle"}
    written = json.loads(take_review(listing, window, post(sent)).body)  # type: ignore[arg-type]
    assert (written["label"], written["note"], written["status"]) == ("cup", "has a handle", "rejected")
    same_class = {"key": "mug/aaaa", "decision": "relabel", "label": "mug"}
    for wrong in (same_class, [], {"key": 3}, {"key": "mug/aaaa", "decision": "x"}, {"decision": "accept"}):
        with pytest.raises(UsageError):
            take_review(listing, window, post(wrong))  # type: ignore[arg-type]
    assert [found.decision for found in read_reviews(reviews_path(ours))] == ["relabel"]
    assert "by hand" in content.decided or "should be" in content.decided
    undone = json.loads(take_review(listing, window, post({"key": "mug/aaaa", "decision": "undo"})).body)  # type: ignore[arg-type]
    assert content.decided == ""
    assert undone == {"decision": None, "label": None, "note": "", "time": None, "status": "accepted"}
    listing.close()


def test_the_list_follows_other_viewers_and_builds(ours: Path) -> None:
    first, second = Listing(Dataset(ours, statuses=None)), Listing(Dataset(ours, statuses=None))
    first.review("mug/aaaa", "reject", label=None, note="")
    assert [row["key"] for row in second.page(Filter(status="rejected", review="any"), 0)["rows"]] == [
        "mug/aaaa"
    ]
    second.review("mug/aaaa", "relabel", label="cup", note="")
    assert [row["key"] for row in first.page(Filter(text="CUP"), 0)["rows"]] == ["mug/aaaa"]
    first.close(), second.close()
    total = first.page(Filter(), 0)["total"]
    shutil.rmtree(ours / "mug" / "bbbb")
    rebuild_catalog(ours)
    assert sum(count for _, _, count in second.choices()["classes"]) == total - 1, "asked for before the list"
    assert first.page(Filter(), 0)["total"] == total - 1
    with pytest.raises(UsageError, match="bbbb"):
        first.scene("mug/bbbb")


def test_a_download(tmp_path: Path) -> None:
    """Its decisions lie beside it: nothing is written into it."""
    root = tmp_path / "mvi"
    write_mvimgnet(root, tuple(f"0/{n:08x}" for n in range(2)))
    before = sorted(root.rglob("*"))
    listing = Listing(Dataset(root))
    page = listing.page(Filter(), 0)
    assert page["total"] == 2 <= PAGE
    assert page["rows"][0]["status"] is None and page["rows"][0]["num_views"] == 10
    assert page["rows"][0]["class_name"] != "0"
    listing.review("0/00000001", "reject", label=None, note="")
    assert sorted(root.rglob("*")) == before
    assert (tmp_path / "mvi.reviews.jsonl").is_file()
    assert [row["key"] for row in Listing(Dataset(root)).page(Filter(review="any"), 0)["rows"]] == [
        "0/00000001"
    ]
