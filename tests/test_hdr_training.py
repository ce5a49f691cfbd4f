"""Training: the same numbers every time, also when it was cut off; a few steps already help."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from walkaround.cli import main  # noqa: E402
from walkaround.errors import FormatError, InputError, UsageError  # noqa: E402
from walkaround.hdr.evaluation import format_tables  # noqa: E402
from walkaround.hdr.network.model import HdrNetwork  # noqa: E402
from walkaround.hdr.network.weights import read_weights, write_weights  # noqa: E402
from walkaround.hdr.synthesis.footage import open_footage  # noqa: E402
from walkaround.hdr.synthesis.leaves import draw_leaves  # noqa: E402
from walkaround.hdr.training.losses import feature_loss, temporal_loss  # noqa: E402
from walkaround.hdr.training.options import Recipe, TrainOptions  # noqa: E402
from walkaround.hdr.training.samples import SampleMaker  # noqa: E402
from walkaround.hdr.training.train import WEIGHTS, Trainer, schedule  # noqa: E402

RECIPE = Recipe(batch=1, patch=64, leaves=1.0)


def train(out: Path, iterations: int, recipe: Recipe = RECIPE, **options: object) -> Trainer:
    out.mkdir(exist_ok=True)
    chosen = TrainOptions(iterations=iterations, device="cpu", **options)  # type: ignore[arg-type]
    trainer = Trainer(SampleMaker(recipe=recipe, sources=()), chosen, out)
    trainer.run()
    return trainer


def test_a_sample_follows_from_its_number() -> None:
    maker = SampleMaker(recipe=RECIPE, sources=())
    for period in (2, 3):
        one, again = (maker.make(5, period=period, temporal=True) for _ in range(2))
        other = maker.make(6, period=period, temporal=True)
        count = 2 * period - 1
        shapes = [array.shape for array in one.windows[1]]
        assert shapes == [(count, 3, 64, 64), (count,), (count - 1, 2, 64, 64), (count - 1, 1, 64, 64)]
        assert len(one.windows) == len(one.truths) == 2 and one.back is not None
        assert np.array_equal(one.windows[0][0], again.windows[0][0])
        assert not np.array_equal(one.windows[0][0], other.windows[0][0])
        assert np.array_equal(one.windows[0][1][1:], one.windows[1][1][:-1])  # one frame later
    assert maker.make(5, period=2, temporal=False).back is None


def test_a_run_that_was_cut_off_ends_the_same(tmp_path: Path) -> None:
    whole = train(tmp_path / "whole", 4, checkpoint_every=4)
    cut = Trainer(
        SampleMaker(recipe=RECIPE, sources=()),
        TrainOptions(iterations=4, device="cpu", checkpoint_every=2),
        tmp_path / "cut",
    )
    (tmp_path / "cut").mkdir()
    for _ in range(2):
        cut.step()
    cut.save([])
    cut.step()  # lost: no checkpoint after it
    resumed = train(tmp_path / "cut", 4)
    assert resumed.iteration == 4
    for name, value in whole.average.items():
        assert torch.equal(value, resumed.average[name]), name
    network, facts = read_weights(tmp_path / "cut" / WEIGHTS)
    assert facts["iteration"] == "4" and json.loads(facts["recipe"])["patch"] == 64
    assert not network.training


def test_the_same_weights_are_the_same_file(tmp_path: Path) -> None:
    facts = {name: name * 3 for name in "qwertyuiop"}
    files = set()
    for number in range(4):
        path = tmp_path / f"{number}.safetensors"
        shuffled = dict(sorted(facts.items(), reverse=number % 2 == 0))
        network = HdrNetwork()
        zeros = {name: torch.zeros_like(value) for name, value in network.state_dict().items()}
        write_weights(path, zeros, network.options, shuffled)
        files.add(path.read_bytes())
    assert len(files) == 1
    assert read_weights(path)[1] == facts


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_no_gpu_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="torch finds no such device"):
        Trainer(SampleMaker(recipe=RECIPE, sources=()), TrainOptions(iterations=1, device="cuda"), tmp_path)


def test_another_recipe_does_not_continue_a_run(tmp_path: Path) -> None:
    train(tmp_path, 1)
    with pytest.raises(UsageError, match="recipe has seed = 0, not 1"):
        train(tmp_path, 1, Recipe(batch=1, patch=64, leaves=1.0, seed=1))
    (tmp_path / "checkpoint.pt").write_bytes(b"broken")
    with pytest.raises(FormatError, match="damaged"):
        train(tmp_path, 1)


def test_a_few_steps_help_and_mixed_precision_runs(tmp_path: Path) -> None:
    recipe = Recipe(batch=2, patch=64, leaves=1.0, temporal=0.0, learning_rate=2e-3)
    trainer = Trainer(
        SampleMaker(recipe=recipe, sources=()),
        TrainOptions(iterations=10**6, device="cpu", precision="bfloat16"),
        tmp_path,
    )
    gains = [
        part["psnr_mu"] - part["psnr_mu_classical"] for part in (trainer.step().parts for _ in range(30))
    ]
    assert np.mean(gains[-8:]) > np.mean(gains[:4]) + 0.2


def test_schedule_rises_stays_and_falls() -> None:
    shares = [schedule(n, 1000) for n in range(1000)]
    assert shares[0] == pytest.approx(0.02) and shares[49:600] == [1.0] * 551
    assert shares[800] == pytest.approx(0.5) and shares[-1] == 0.01


def test_losses_see_what_they_are_for() -> None:
    """The feature loss sees edges and no constant; the temporal loss counts what the truth keeps."""
    target = torch.rand(1, 3, 16, 16)
    assert feature_loss(target + 0.1, target) < 1e-6
    assert feature_loss(torch.nn.functional.avg_pool2d(target, 3, 1, 1), target) > 0.05
    still = torch.zeros(1, 2, 16, 16)
    wrong = target.clone()
    wrong[..., :8, :] += 0.1
    from walkaround.hdr.network.tensors import inverse_mu_law

    same = temporal_loss(target, target, inverse_mu_law(target), inverse_mu_law(target), still)
    changed = temporal_loss(wrong, target, inverse_mu_law(target), inverse_mu_law(target), still)
    gone = temporal_loss(wrong, target, inverse_mu_law(target), inverse_mu_law(1 - target), still)
    assert same < 1e-5 and changed == pytest.approx(0.05, abs=1e-3) and gone < 0.02


def test_footage(tmp_path: Path) -> None:
    picture = draw_leaves((120, 90), np.random.default_rng(0), num_shapes=50)
    for number in range(6):
        cv2.imwrite(str(tmp_path / f"{number}.hdr"), np.roll(picture, number, axis=1)[..., ::-1])
    footage = open_footage(tmp_path)
    assert footage.num_frames == 6 and footage.read(3).shape == (90, 120, 3)
    sample = SampleMaker(recipe=Recipe(patch=64, footage=1.0), sources=(), footage=(footage,))
    made = sample.make(0, period=2, temporal=False)
    assert made.truths[0].shape == (3, 64, 64) and made.truths[0].max() > 0.05
    (tmp_path / "5.hdr").unlink()
    with pytest.raises(InputError, match="has 5 frames"):
        open_footage(tmp_path)


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sources = tmp_path / "radiance"
    sources.mkdir()
    picture = draw_leaves((160, 120), np.random.default_rng(0), num_shapes=100)
    cv2.imwrite(str(sources / "room.hdr"), picture[..., ::-1])
    out = tmp_path / "run"
    command = [
        "hdr-train", str(sources), "--out", str(out), "--recipe.patch", "64", "--recipe.batch", "1",
        "--train.iterations", "2", "--train.device", "cpu",
    ]  # fmt: skip
    assert main(command) == 0
    assert (out / WEIGHTS).is_file() and (out / "history.jsonl").read_text().count("\n") == 1
    assert main([*command[:-3], "3", *command[-2:]]) == 0
    assert "from step 2" in capsys.readouterr().err
    assert main([*command, "--recipe.patch", "65"]) == 2
    assert "patch is 65" in capsys.readouterr().err


def test_evaluation_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sources = tmp_path / "radiance"
    sources.mkdir()
    picture = draw_leaves((160, 120), np.random.default_rng(0), num_shapes=100)
    cv2.imwrite(str(sources / "Desk.hdr"), picture[..., ::-1])
    command = ["hdr-eval", str(sources), "--methods", "naive", "fusion", "--trial.num-frames", "2",
               "--trial.clip.size", "96", "64", "--trial.exposures", "2"]  # fmt: skip
    assert main([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    means = found["means"]["2"]
    assert set(means) == {"naive", "fusion"} and set(means["fusion"]) == {"low", "high", "all"}
    assert means["fusion"]["all"]["psnr_mu"] > means["naive"]["all"]["psnr_mu"] + 2
    frames = [own["psnr_mu"] for _, own in found["clips"][1]["frames"]]
    assert means["fusion"]["all"]["psnr_mu"] == pytest.approx(np.mean(frames))
    table = format_tables({2: means})
    assert "PSNR-mu" in table and f"{means['fusion']['high']['psnr_mu']:.2f}" in table
    assert main([*command[:2], "--methods", "magic"]) == 2
    assert main([*command, "--trial.num-frames", "5"]) == 2


def test_frames_on_disk_are_scored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = np.clip(draw_leaves((64, 48), np.random.default_rng(0), num_shapes=50), 0, 1)
    for folder, factor in (("result", 0.95), ("truth", 1.0)):
        (tmp_path / folder).mkdir()
        for number in range(4):
            cv2.imwrite(str(tmp_path / folder / f"{number}.hdr"), factor * picture[..., ::-1])
    command = ["hdr-eval", str(tmp_path / "result"), "--truth", str(tmp_path / "truth"), "--json"]
    assert main([*command, "--ev", "0", "3"]) == 0
    means = json.loads(capsys.readouterr().out)["means"]["2"]["result"]
    assert means["low"]["psnr_mu"] == pytest.approx(means["high"]["psnr_mu"]) and means["all"]["psnr_mu"] > 30
    assert main(command) == 2
    assert "--ev" in capsys.readouterr().err
