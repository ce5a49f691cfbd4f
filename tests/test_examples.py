"""The examples run as they stand, only smaller."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from tests.released import write_mvimgnet2

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.mark.slow
def test_simulate_and_evaluate(tmp_path: Path) -> None:
    command = [sys.executable, str(EXAMPLES / "01_simulate_and_evaluate.py"), "--out", str(tmp_path)]
    command += ["--num-frames", "14", "--size", "288", "162"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("accepted")
    assert "frames registered  14 of 14" in done.stdout and "cloud at 1 %" in done.stdout


def test_train_stop_and_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch", reason="torch is not installed: pip install 'walkaround[torch]'")
    monkeypatch.setenv("WALKAROUND_CACHE", str(tmp_path / "cache"))
    write_mvimgnet2(tmp_path / "root", ("3/aa", "3/bb", "17/cc"))
    example = runpy.run_path(str(EXAMPLES / "02_train.py"))  # in this process: torch takes seconds to load
    options = {"root": tmp_path / "root", "workers": 0, "state": tmp_path / "training.pt"}
    example["main"](example["Arguments"](epochs=1, **options))
    first = capsys.readouterr().out
    assert first.startswith("epoch 0: loss") and "3 scenes of 2 classes" in first
    example["main"](example["Arguments"](epochs=2, **options))
    assert capsys.readouterr().out.startswith("epoch 1: loss")
