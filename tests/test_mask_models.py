"""Learned mask models by name: table, cache, download, hash, and what the network gets and gives."""

from __future__ import annotations

import dataclasses
import hashlib
import re
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tests.onnx_files import write_channel_mean
from walkaround.cli import main
from walkaround.depth import DepthOptions
from walkaround.errors import InputError, UsageError
from walkaround.io.cache import cache_folder
from walkaround.limits import check_limits
from walkaround.masks import MasksOptions
from walkaround.masks import models as table
from walkaround.masks.models import MODELS, MaskModel, Recipe, fetch, prepare_model, recipe_of
from walkaround.masks.onnx import OnnxModel, load_model
from walkaround.pipeline import STAGES, BuildOptions, build_sequence
from walkaround.workspace import options_to_dict, stage_key

CONTENT = bytes(range(256)) * 5000


class Handler(BaseHTTPRequestHandler):
    asked: list[str] = []  # noqa: RUF012

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if self.path == "/missing.onnx":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[: 100_000 if self.path == "/cut.onnx" else None])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    Handler.asked.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


def entry(url: str, name: str = "model.onnx", content: bytes = CONTENT) -> MaskModel:
    return dataclasses.replace(
        MODELS["isnet"], file="model.onnx", url=url + name, size_bytes=len(CONTENT),
        sha256=hashlib.sha256(content).hexdigest(),
    )  # fmt: skip


# --- the table ---


def test_every_entry_is_complete() -> None:
    assert {"u2net", "isnet", "birefnet"} <= set(MODELS)
    for name, model in MODELS.items():
        assert re.fullmatch("[a-z0-9-]+", name)
        assert re.fullmatch("[0-9a-f]{64}", model.sha256)
        assert model.url.startswith("https://") and model.source.startswith("https://")
        assert model.url.endswith(model.file)
        assert model.licence in ("Apache-2.0", "MIT")
    assert len({model.sha256 for model in MODELS.values()}) == len(MODELS)


def test_the_docs_have_every_entry() -> None:
    text = (Path(__file__).parents[1] / "docs" / "masks.md").read_text(encoding="utf-8")
    for name, model in MODELS.items():
        row = next(line for line in text.splitlines() if line.startswith(f"| `{name}` "))
        assert model.licence in row and model.source in row and f"{model.size_bytes / 1e6:.0f}" in row
        assert model.sha256 in text


def test_the_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("WALKAROUND_CACHE", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "walkaround"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "walkaround"
    monkeypatch.setenv("WALKAROUND_CACHE", str(tmp_path / "elsewhere"))
    assert cache_folder() == tmp_path / "elsewhere"


# --- download ---


def test_a_model_is_downloaded_once(url: str, tmp_path: Path) -> None:
    model = entry(url)
    path = fetch(model, tmp_path / "new" / "cache")
    assert path.read_bytes() == CONTENT
    assert fetch(model, tmp_path / "new" / "cache") == path
    assert Handler.asked == ["/model.onnx"]
    assert [item.name for item in path.parent.iterdir()] == ["model.onnx"]


def test_a_wrong_hash_names_both_and_leaves_nothing(url: str, tmp_path: Path) -> None:
    model = entry(url, content=b"what was published")
    with pytest.raises(InputError) as caught:
        fetch(model, tmp_path)
    assert model.sha256 in str(caught.value)
    assert hashlib.sha256(CONTENT).hexdigest() in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_changed_in_the_cache(url: str, tmp_path: Path) -> None:
    model = entry(url)
    path = fetch(model, tmp_path)
    path.write_bytes(b"bit rot")
    with pytest.raises(InputError, match=hashlib.sha256(b"bit rot").hexdigest()):
        fetch(model, tmp_path)
    assert not path.exists()
    assert fetch(model, tmp_path).read_bytes() == CONTENT


def test_a_download_that_is_cut_off(url: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"cut off after 100000 of {len(CONTENT)} bytes"):
        fetch(entry(url, "cut.onnx"), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_more_bytes_than_there_should_be(url: str, tmp_path: Path) -> None:
    model = dataclasses.replace(entry(url), size_bytes=1000)
    with pytest.raises(InputError, match="is not the file that was expected"):
        fetch(dataclasses.replace(model, sha256="0" * 64), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["missing.onnx", "refused"])
def test_no_network_says_what_to_do_by_hand(url: str, tmp_path: Path, name: str) -> None:
    model = entry(url if name == "missing.onnx" else "http://127.0.0.1:9/", name)
    with pytest.raises(InputError) as caught:
        fetch(model, tmp_path)
    for part in (model.url, model.sha256, str(tmp_path / "model.onnx")):
        assert part in str(caught.value)
    assert list(tmp_path.iterdir()) == []


# --- names and paths ---


def test_neither_a_name_nor_a_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"u2nett is neither .* u2net, "):
        check_limits({"masks": {"model": Path("u2nett")}})
    check_limits({"masks": {"model": Path("u2net")}})
    with pytest.raises(UsageError, match="neither"):
        prepare_model(tmp_path)


def test_a_named_model_enters_the_key_by_its_hash(tmp_path: Path) -> None:
    """And a file by its bytes: the same path with other bytes is another model. No path is recorded."""
    masks = next(stage for stage in STAGES if stage.name == "masks")

    def key(model: Path) -> str:
        return stage_key(masks, options=MasksOptions(model=model), upstream="", seed=0)

    named = options_to_dict(MasksOptions(model=Path("isnet")))["model"]
    assert named == "sha256:" + MODELS["isnet"].sha256
    file = tmp_path / "private.onnx"
    file.write_bytes(b"a")
    before = key(file)
    file.write_bytes(b"b")
    assert len({before, key(file), key(Path("isnet")), key(Path("u2net"))}) == 4
    assert "private" not in str(options_to_dict(MasksOptions(model=file)))


def test_a_build_without_network_stops_before_any_work(
    tmp_path: Path,
    fake_stages: ModuleType,
    source: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", ModuleType("onnxruntime"))
    monkeypatch.setenv("WALKAROUND_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(MODELS, "isnet", entry("http://127.0.0.1:9/"))
    assert main(["build", str(source), "--out", str(tmp_path / "root"), "--masks.model", "isnet"]) == 2
    assert "cannot be downloaded" in capsys.readouterr().err
    assert fake_stages.calls == []


def test_a_build_with_a_file_that_is_no_model_stops_before_any_work(
    tmp_path: Path, fake_stages: ModuleType, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With UsageError, which stops a batch too: the captures are not to blame."""
    pytest.importorskip("onnxruntime")
    model = tmp_path / "text.onnx"
    model.write_text("not a model")
    options = ["--out", str(tmp_path / "root"), "--masks.model", str(model)]
    assert main(["build", str(source), *options]) == 2
    assert "not a readable ONNX model" in capsys.readouterr().err
    build = BuildOptions(masks=MasksOptions(model=model))
    with pytest.raises(UsageError, match="not a readable ONNX model"):
        build_sequence(source, tmp_path / "root", options=build)
    assert fake_stages.calls == []


def test_a_build_with_a_file_that_is_no_network_stops_before_any_work(
    tmp_path: Path, fake_stages: ModuleType, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    weights = tmp_path / "junk.safetensors"
    weights.write_text("no weights")
    options = ["--out", str(tmp_path / "root"), "--depth.backend", "learned", "--depth.weights", str(weights)]
    assert main(["build", str(source), *options]) == 2
    assert "no readable safetensors" in capsys.readouterr().err
    build = BuildOptions(depth=DepthOptions(backend="learned", weights=tmp_path / "none.safetensors"))
    with pytest.raises(UsageError, match="must be a file"):
        build_sequence(source, tmp_path / "root", options=build)
    assert fake_stages.calls == []


def test_models_lists_what_is_cached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WALKAROUND_CACHE", str(tmp_path))
    (tmp_path / MODELS["isnet"].file).write_bytes(b"")
    assert main(["models"]) == 0
    rows = {line.split()[0]: line.split() for line in capsys.readouterr().out.splitlines()}
    assert rows["isnet"][1:4] == ["Apache-2.0", "179", "yes"]
    assert rows["birefnet"][1:4] == ["MIT", "973", "no"]


# --- the network itself ---


def picture() -> np.ndarray:
    image = np.zeros((64, 96, 3), np.uint8)
    image[:, 48:] = 200
    return image


def test_the_recipe_decides_what_the_network_sees(tmp_path: Path) -> None:
    """The model gives back the mean of its input's channels, so its output shows the normalisation."""
    pytest.importorskip("onnxruntime")
    path = write_channel_mean(tmp_path / "mean.onnx")
    plain = Recipe(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    left, right = (slice(None), slice(0, 40)), (slice(None), slice(56, 96))
    for recipe, low, high in (
        (plain, 0.0, 200 / 255),
        (dataclasses.replace(plain, divide_by_max=True), 0.0, 1.0),
        (dataclasses.replace(plain, stretch=True), 0.0, 1.0),
        (dataclasses.replace(plain, sigmoid=True), 0.5, 1 / (1 + np.exp(-200 / 255))),
        (dataclasses.replace(plain, std=(2.0, 2.0, 2.0)), 0.0, 100 / 255),
        (MODELS["isnet"].recipe, 0.0, 1.0),
    ):
        probability = OnnxModel(path, recipe=recipe).fg_probability(picture())
        assert probability.shape == (64, 96) and probability.dtype == np.float32
        np.testing.assert_allclose(probability[left], low, atol=1e-5)
        np.testing.assert_allclose(probability[right], high, atol=1e-5)


def test_a_model_without_a_fixed_size(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    path = write_channel_mean(tmp_path / "free.onnx", ("batch", 3, "height", "width"))
    assert OnnxModel(path, input_px=64).fg_probability(picture()).shape == (64, 96)


def test_by_name_and_by_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file with the bytes of a known model is used as that model is."""
    pytest.importorskip("onnxruntime")
    path = write_channel_mean(tmp_path / "model.onnx")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert recipe_of(path) == Recipe()
    known = dataclasses.replace(MODELS["u2net"], file="model.onnx", sha256=digest)
    monkeypatch.setitem(table.MODELS, "tiny", known)
    monkeypatch.setenv("WALKAROUND_CACHE", str(tmp_path))
    assert recipe_of(path) == MODELS["u2net"].recipe
    by_name, by_path = (load_model(model).fg_probability(picture()) for model in (Path("tiny"), path))
    np.testing.assert_array_equal(by_name, by_path)
    assert by_name[:, 56:].min() > 0.999


def test_a_broken_file(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    (tmp_path / "broken.onnx").write_bytes(CONTENT[:1000])
    with pytest.raises(UsageError, match="not a readable ONNX model"):
        load_model(tmp_path / "broken.onnx")
