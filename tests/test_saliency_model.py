"""The mask model that comes with walkaround: its file, its training, its export, and what it is called."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from walkaround.cli import main
from walkaround.errors import InputError, UsageError
from walkaround.limits import check_limits
from walkaround.masks import MasksOptions
from walkaround.masks import models as table
from walkaround.masks.models import SHIPPED, prepare_model, sha256_of
from walkaround.masks.onnx import load_model
from walkaround.masks.photos import segment_photos
from walkaround.masks.shipped import ShippedModel, square_around
from walkaround.workspace import options_to_dict

SALIENCY = SHIPPED["saliency"]


def scene(width: int = 240, height: int = 160) -> tuple[Any, Any]:
    """A blue ball on a bright table before a darker wall."""
    y, x = np.mgrid[0:height, 0:width]
    image = np.where((y > 0.55 * height)[..., None], [205, 190, 165], [120, 125, 120]).astype(np.uint8)
    mask = np.hypot(y - 0.52 * height, x - 0.47 * width) < 0.22 * height
    light = 1 - 0.5 * (np.hypot(y - 0.45 * height, x - 0.42 * width) / (0.35 * height))
    image[mask] = np.clip(np.array([40, 70, 200]) * light[mask][:, None], 0, 255)
    return cv2.GaussianBlur(image, (0, 0), 0.7), mask


def test_the_file_is_the_one_of_the_table() -> None:
    assert sha256_of(SALIENCY.path) == SALIENCY.sha256
    assert SALIENCY.path.stat().st_size < 5e6
    card = (SALIENCY.path.parent / "CARD.md").read_text(encoding="utf-8")
    assert SALIENCY.sha256 in card and "saliency-train" in card
    docs = (Path(__file__).parents[1] / "docs" / "masks.md").read_text(encoding="utf-8")
    assert next(line for line in docs.splitlines() if line.startswith("| `saliency` "))


def test_it_finds_an_object_without_any_other_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.setitem(sys.modules, "torch", None)
    image, mask = scene()
    probability = load_model(Path("saliency")).fg_probability(image)
    assert probability.shape == mask.shape and probability.dtype == np.float32
    assert probability.min() >= 0 and probability.max() <= 1
    found = probability > 0.5
    assert (found & mask).sum() / (found | mask).sum() > 0.8
    result = segment_photos([image], model=Path("saliency"))[0]
    assert (result.mask & mask).sum() / (result.mask | mask).sum() > 0.8
    assert np.array_equal(load_model(Path("saliency")).fg_probability(image), probability), "same bytes"


def test_onnxruntime_runs_it_alike() -> None:
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(str(SALIENCY.path), providers=["CPUExecutionProvider"])
    size = SALIENCY.input_px
    image = np.random.default_rng(0).normal(size=(1, 3, size, size)).astype(np.float32)
    network = cv2.dnn.readNetFromONNX(str(SALIENCY.path))
    network.setInput(image)
    assert np.allclose(network.forward(), session.run(None, {"image": image})[0], atol=1e-4)


@pytest.mark.parametrize("size", [(17, 300), (300, 17), (8, 8)])
def test_pictures_of_any_shape(size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 255, (*size, 3), dtype=np.uint8)
    assert ShippedModel("saliency").fg_probability(image).shape == size


def test_where_it_looks_again() -> None:
    mask = np.zeros((100, 200), dtype=bool)
    assert square_around(mask) is None
    mask[0, 0] = True
    assert square_around(mask) is None, "next to nothing"
    mask[40:60, 90:130] = True
    assert square_around(mask) == (78, 18, 64)


def test_its_name_is_known_and_enters_the_key_by_its_hash(capsys: pytest.CaptureFixture[str]) -> None:
    check_limits({"masks": {"model": Path("saliency")}})
    assert prepare_model(Path("saliency")) == SALIENCY.path
    assert options_to_dict(MasksOptions(model=Path("saliency")))["model"] == "sha256:" + SALIENCY.sha256
    assert main(["models"]) == 0
    row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("saliency "))
    assert "Apache-2.0" in row and "comes with walkaround" in row


def test_a_damaged_installation_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "saliency.onnx"
    broken.write_bytes(b"half a file")
    monkeypatch.setitem(table.SHIPPED, "saliency", dataclasses.replace(SALIENCY, path=broken))
    with pytest.raises(InputError, match="Install walkaround again"):
        load_model(Path("saliency"))


# --- training ---


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from walkaround.simulate.dataset_options import SimulateDatasetOptions
    from walkaround.simulating import simulate_dataset

    root = tmp_path_factory.mktemp("objects") / "dataset"
    simulate_dataset(
        root, options=SimulateDatasetOptions(classes=2, instances=2, views=2, size=64), workers=1
    )
    return root


def test_samples_have_one_object_near_the_middle(made: Path) -> None:
    pytest.importorskip("torch")
    from walkaround.studies.saliency.shipped.recipe import ShippedRecipe
    from walkaround.studies.saliency.shipped.train import make_samples

    maker = make_samples(ShippedRecipe(size_px=96, num_backgrounds=10), made, None)
    assert maker.backgrounds.shape == (10, 96, 96, 3)
    for number in range(24):
        image, mask = maker.make(number)
        assert image.shape == (96, 96, 3) and mask.shape == (96, 96)
        assert image.dtype == mask.dtype == np.uint8
        assert 0.005 < (mask > 127).mean() < 0.9
        again = maker.make(number)
        assert np.array_equal(again[0], image) and np.array_equal(again[1], mask)
    assert not np.array_equal(maker.make(0)[0], maker.make(1)[0])


def test_training_goes_on_and_its_file_gives_what_torch_gives(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnx")
    from walkaround.studies.saliency.u2net import make_network

    out = tmp_path / "run"
    command = ["saliency-train", str(made), "--out", str(out), "--device", "cpu", "--checkpoint-every", "1"]
    command += ["--recipe.size-px", "96", "--recipe.steps", "3", "--recipe.batch", "2"]
    command += ["--recipe.num-backgrounds", "6"]
    assert main(command) == 0
    assert "saliency.onnx" in capsys.readouterr().err
    network = make_network("tiny").eval()
    network.load_state_dict(torch.load(out / "weights.pt", weights_only=True))
    image = torch.randn(1, 3, 96, 96)
    with torch.inference_mode():
        wanted = network(image)[0].sigmoid().numpy()
    runner = cv2.dnn.readNetFromONNX(str(out / "saliency.onnx"))
    runner.setInput(image.numpy())
    assert np.allclose(runner.forward(), wanted, atol=1e-4)
    weights = (out / "weights.pt").read_bytes()
    assert main(command) == 0 and (out / "weights.pt").read_bytes() == weights, "nothing is left to do"
    assert main([*command, "--recipe.rate", "0.1"]) == 2
    assert "another recipe" in capsys.readouterr().err
    assert json.loads((out / "recipe.json").read_text())["steps"] == 3


def test_without_onnx_nothing_is_trained(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert main(["saliency-train", str(made), "--out", str(tmp_path / "run"), "--device", "cpu"]) == 2
    assert "walkaround[studies]" in capsys.readouterr().err and not (tmp_path / "run").exists()


def test_wrong_recipes_and_data(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from walkaround.studies.saliency.shipped.backgrounds import read_pictures
    from walkaround.studies.saliency.shipped.recipe import ShippedRecipe

    with pytest.raises(UsageError, match="size_px is 100"):
        ShippedRecipe(size_px=100).check()
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no pictures"):
        read_pictures(tmp_path / "empty")


def test_the_command_is_named_without_loading_anything_heavy() -> None:
    code = (
        "import sys, walkaround.commands.saliency_train; print({'torch', 'cv2', 'numba'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
