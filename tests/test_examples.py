"""The examples run as they stand, only smaller."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.mark.slow
def test_simulate_and_evaluate(tmp_path: Path) -> None:
    command = [sys.executable, str(EXAMPLES / "01_simulate_and_evaluate.py"), "--out", str(tmp_path)]
    command += ["--num-frames", "14", "--size", "288", "162"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("accepted")
    assert "frames registered  14 of 14" in done.stdout and "cloud at 1 %" in done.stdout
