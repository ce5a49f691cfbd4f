"""The examples run as they stand, only smaller."""

from __future__ import annotations

import os
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


def test_train_stop_and_go_on(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="torch is not installed: pip install 'walkaround[torch]'")
    write_mvimgnet2(tmp_path / "root", ("3/aa", "3/bb", "17/cc"))
    command = [sys.executable, str(EXAMPLES / "02_train.py"), str(tmp_path / "root"), "--workers", "0"]
    command += ["--state", str(tmp_path / "training.pt")]
    environment = {**os.environ, "WALKAROUND_CACHE": str(tmp_path / "cache")}
    first = subprocess.run([*command, "--epochs", "1"], capture_output=True, text=True, env=environment)
    assert first.returncode == 0, first.stderr
    assert first.stdout.startswith("epoch 0: loss") and "3 scenes of 2 classes" in first.stdout
    more = subprocess.run([*command, "--epochs", "2"], capture_output=True, text=True, env=environment)
    assert more.returncode == 0, more.stderr
    assert "epoch 1: loss" in more.stdout and "epoch 0" not in more.stdout
