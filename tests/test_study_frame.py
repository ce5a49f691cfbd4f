"""The frame of the studies: each job once, resume in the middle, spread over seeds, verdicts."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.studies_toy import ToyRecipe, ToyStudy
from walkaround.cli import main
from walkaround.errors import FormatError, UsageError, WalkaroundError
from walkaround.studies import STUDIES, load_study
from walkaround.studies.frame import Claim, Metric, Results, rng_of, run_study
from walkaround.studies.frame.plot import as_page, as_svg
from walkaround.studies.frame.table import as_text

torch = pytest.importorskip("torch")
RECIPE = ToyRecipe(device="cpu", threads=1)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)
    ToyStudy.trained.clear()


def weights(out: Path, arm: str, seed: int) -> list[bytes]:
    state = torch.load(out / "jobs" / arm / str(seed) / "net.pt", weights_only=True)
    return [value.numpy().tobytes() for value in state.values()]


def results(values: dict[str, list[float]], *, higher: bool = True) -> Results:
    metric = Metric(name="m", text="m", higher_is_better=higher)
    claim = Claim(text="b beats a", source="s", paper="p", metric="m", better="b", than="a")
    rows = [
        {"arm": arm, "seed": seed, "metrics": {"m": value}}
        for arm, list_ in values.items()
        for seed, value in enumerate(list_)
    ]
    return Results(
        study="x", text="x", metrics=(metric,), claims=(claim,), arms=("a", "b"), recipe={}, rows=tuple(rows)
    )


def test_one_seed_has_no_spread() -> None:
    one, two = results({"a": [0.5], "b": [0.25]}), results({"a": [0.5, 0.7], "b": [0.25, 0.3]})
    for found, marks in ((one, 0), (two, 2)):
        rows = [line for line in as_text(found).splitlines() if line.startswith(("│ a", "│ b"))]
        assert sum("±" in row for row in rows) == marks
        assert as_svg(found).count('class="band"') == marks
        assert as_page(found).count(" ± ") == 2 * marks + 1  # table, picture; the line below says what it is


def test_a_study_runs_once_and_says_what_it_found(tmp_path: Path) -> None:
    found = run_study(ToyStudy(), RECIPE, tmp_path)
    assert len(found.rows) == 6
    assert len(ToyStudy.trained) == 6 * RECIPE.steps
    spread = found.spread("fast", "error")
    assert spread is not None and spread.count == 3 and spread.deviation > 0
    assert found.verdicts()[0].verdict == "holds"
    kept = json.loads((tmp_path / "results.json").read_text())
    assert kept["claims"][0]["verdict"] == "holds"
    assert kept["summary"]["fast"]["error"]["mean"] == spread.mean
    assert "±" in (tmp_path / "table.txt").read_text()
    assert (tmp_path / "plot.svg").read_text().count("<circle") == 12
    ToyStudy.trained.clear()
    again = run_study(ToyStudy(), dataclasses.replace(RECIPE, seeds=(0, 1, 2, 3)), tmp_path)
    assert {seed for _, seed, _ in ToyStudy.trained} == {3}, "more seeds are more jobs, nothing else"
    assert len(again.rows) == 8


def test_an_interrupted_training_gives_the_same_weights(tmp_path: Path) -> None:
    recipe = dataclasses.replace(RECIPE, seeds=(4,))
    run_study(ToyStudy(), recipe, tmp_path / "whole")
    study = ToyStudy()
    study.stop_at = 8
    with pytest.raises(KeyboardInterrupt):
        run_study(study, recipe, tmp_path / "cut")
    ToyStudy.trained.clear()
    torch.rand(7)  # whatever the process did meanwhile
    run_study(ToyStudy(), recipe, tmp_path / "cut")
    assert min(number for arm, _, number in ToyStudy.trained if arm == "slow") == 5
    for arm in ("slow", "fast"):
        assert weights(tmp_path / "cut", arm, 4) == weights(tmp_path / "whole", arm, 4)
    assert weights(tmp_path / "cut", "slow", 4) != weights(tmp_path / "cut", "fast", 4)


def test_a_broken_checkpoint_is_no_end(tmp_path: Path) -> None:
    recipe = dataclasses.replace(RECIPE, seeds=(0,))
    study = ToyStudy()
    study.stop_at = 8
    with pytest.raises(KeyboardInterrupt):
        run_study(study, recipe, tmp_path)
    path = tmp_path / "jobs" / "slow" / "0" / "checkpoint.pt"
    path.write_bytes(path.read_bytes()[:100])
    assert len(run_study(ToyStudy(), recipe, tmp_path).rows) == 2


def test_another_recipe_is_refused(tmp_path: Path) -> None:
    recipe = dataclasses.replace(RECIPE, seeds=(0,))
    run_study(ToyStudy(), recipe, tmp_path)
    other = dataclasses.replace(recipe, steps=3)
    with pytest.raises(UsageError, match=r"steps 12, not 3.*--overwrite"):
        run_study(ToyStudy(), other, tmp_path)
    ToyStudy.trained.clear()
    run_study(ToyStudy(), other, tmp_path, overwrite=True)
    assert len(ToyStudy.trained) == 6


def test_a_folder_that_is_no_study_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.txt").write_text("precious")
    for overwrite in (False, True):
        with pytest.raises(UsageError, match=r"no recipe\.json"):
            run_study(ToyStudy(), RECIPE, tmp_path, overwrite=overwrite)
    assert (tmp_path / "data" / "mine.txt").read_text() == "precious"


def test_steps_can_be_done_alone(tmp_path: Path) -> None:
    recipe = dataclasses.replace(RECIPE, seeds=(0,))
    run_study(ToyStudy(), recipe, tmp_path, until="prepare")
    assert not ToyStudy.trained and (tmp_path / "data" / "slope.npy").is_file()
    assert not run_study(ToyStudy(), recipe, tmp_path, until="train").rows
    assert len(run_study(ToyStudy(), recipe, tmp_path, until="evaluate").rows) == 2
    assert not (tmp_path / "results.json").exists()


@pytest.mark.parametrize(
    ("a", "b", "higher", "verdict"),
    [
        ([1, 2, 3], [2, 3, 4], True, "holds"),
        ([1, 2, 3], [2, 3, 4], False, "opposite"),
        ([1, 2, 3], [2, 3, 2], True, "unclear"),
        ([1, 2], [2, 3], True, "unclear"),  # two seeds show nothing
        ([], [2, 3, 4], True, "not measured"),
    ],
)
def test_verdicts(a: list[float], b: list[float], higher: bool, verdict: str) -> None:
    assert results({"a": a, "b": b}, higher=higher).verdicts()[0].verdict == verdict


@pytest.mark.parametrize(
    ("b", "verdict"),
    [([0.9, 2.2, 2.8], "holds"), ([0.9, 2.2, 2.2], "unclear"), ([0.2, 1.2, 2.2], "opposite")],
)
def test_a_claim_of_no_loss_has_some_slack(b: list[float], verdict: str) -> None:
    measured = results({"a": [1, 2, 3], "b": b}, higher=True)
    claim = dataclasses.replace(measured.claims[0], slack=0.5)
    assert dataclasses.replace(measured, claims=(claim,)).verdicts()[0].verdict == verdict


def test_words_of_a_recipe_are_no_markup() -> None:
    strange = dataclasses.replace(results({"a": [1.0], "b": []}), text="<script>", recipe={"<b>": "[red]"})
    assert "<script>" not in as_page(strange) and "<b>" not in as_page(strange)
    assert "<svg" in as_svg(strange)
    assert "[red]" not in as_text(strange)


def test_random_numbers_depend_on_their_purpose() -> None:
    first = rng_of(1, "batch", 2).random(4).tolist()
    assert first == rng_of(1, "batch", 2).random(4).tolist()
    assert first != rng_of(1, "batch", 3).random(4).tolist()
    assert first != rng_of(12, "batch").random(4).tolist()


@pytest.mark.parametrize(
    "fields", [{"seeds": ()}, {"seeds": (1, 1)}, {"threads": -1}, {"checkpoint_every": 0}, {"device": "tpu"}]
)
def test_wrong_recipes(tmp_path: Path, fields: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        run_study(ToyStudy(), dataclasses.replace(RECIPE, **fields), tmp_path)  # type: ignore[arg-type]


def test_a_loss_that_is_not_finite_ends_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "tests.studies_toy.rng_of", lambda *_: type("R", (), {"normal": lambda s, size: [[1e30]]})()
    )
    with pytest.raises(WalkaroundError, match="the loss of step 0"):
        run_study(ToyStudy(), RECIPE, tmp_path)


def test_a_broken_result_says_so(tmp_path: Path) -> None:
    recipe = dataclasses.replace(RECIPE, seeds=(0,))
    run_study(ToyStudy(), recipe, tmp_path)
    (tmp_path / "jobs" / "slow" / "0" / "result.json").write_text("{")
    with pytest.raises(FormatError, match=r"result\.json"):
        run_study(ToyStudy(), recipe, tmp_path)


def test_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(STUDIES, "toy", "tests.studies_toy:ToyStudy")
    call = [
        "study",
        "toy",
        str(tmp_path / "o"),
        "--device",
        "cpu",
        "--threads",
        "1",
        "--seeds",
        "0",
        "--steps",
        "2",
    ]
    assert main(call) == 0
    assert "study toy" in capsys.readouterr().out
    assert main([*call, "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["rows"]) == 2
    assert main(["study", "tyo", str(tmp_path)]) == 2
    assert "Did you mean 'toy'" in capsys.readouterr().err
    assert main(["study", "toy", str(tmp_path), "--preset", "huge"]) == 2
    assert main(["study", "--help"]) == 0
    assert "Fast and slow" in capsys.readouterr().out


def test_help_of_studies_loads_no_torch() -> None:
    code = (
        "from walkaround.studies import STUDIES, load_study\nimport sys\n"
        "for name in STUDIES: load_study(name).presets\nimport walkaround.studies.frame.run\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("name", STUDIES)
def test_studies_keep_the_contract(name: str) -> None:
    study = load_study(name)
    assert study.name == name and study.text
    recipe = study.presets["miniature"]
    assert recipe == study.recipe_type()
    recipe.check()
    metrics = {metric.name for metric in study.metrics}
    for claim in study.claims:
        assert claim.metric in metrics and claim.source and claim.paper
        assert {claim.better, claim.than} <= set(study.arms(recipe))


def test_a_missing_input_is_said_at_once_and_a_failed_start_may_be_changed(tmp_path: Path) -> None:
    from walkaround.studies.stereo.recipe import StereoRecipe

    with pytest.raises(UsageError, match=r"--dtu: there is no .*nowhere"):
        StereoRecipe(dtu=tmp_path / "nowhere").check()
    with pytest.raises(UsageError, match="--rate is nan"):
        StereoRecipe(rate=float("nan")).check()

    class Failing(ToyStudy):
        def prepare(self, recipe: ToyRecipe, folder: Path, progress: object) -> None:
            raise UsageError("too few objects")

    with pytest.raises(UsageError, match="too few objects"):
        run_study(Failing(), dataclasses.replace(RECIPE, steps=3), tmp_path)
    assert run_study(ToyStudy(), RECIPE, tmp_path).rows
    with pytest.raises(UsageError, match="holds a study made with"):
        run_study(ToyStudy(), dataclasses.replace(RECIPE, steps=3), tmp_path)
