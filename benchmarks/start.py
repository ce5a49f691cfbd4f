"""What starting costs: ``python benchmarks/start.py INPUT --repeat 7``.

INPUT is a video or a folder of photos. It is built once, unmeasured; then these take turns, each in a fresh
interpreter: the two ``--help``, ``walkaround build`` again (nothing to do: it starts the build's own
process, which finds everything done), and the same in the caller's process (``build_sequence``). The
difference of the last two is what a process of its own costs.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from accuracy import commit, machine

from walkaround import __version__

IN_PROCESS = (
    "import sys; from pathlib import Path; from walkaround.commands.build import build_isolated; "
    "from walkaround.pipeline import build_sequence; build_sequence(Path(sys.argv[1]), Path(sys.argv[2]))"
)


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Measure the start."""

    input: Annotated[Path, tyro.conf.Positional]
    """A video, or a folder of photos."""
    repeat: int = 7
    """Measured rounds."""


def main(arguments: Arguments) -> None:
    """Print the median and the spread of each."""
    print(f"machine: {machine()}; load {os.getloadavg()[0]:.1f}; walkaround {__version__}, commit {commit()}")
    with tempfile.TemporaryDirectory() as root:
        walkaround = [sys.executable, "-m", "walkaround"]
        commands = {
            "walkaround --help": [*walkaround, "--help"],
            "walkaround build --help": [*walkaround, "build", "--help"],
            "second build, own process": [*walkaround, "build", str(arguments.input), "--out", root],
            "second build, in process": [sys.executable, "-c", IN_PROCESS, str(arguments.input), root],
        }
        measure(commands["second build, own process"])
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(arguments.repeat):
            for name, command in commands.items():
                seconds[name].append(measure(command))
    for name, values in seconds.items():
        print(f"{name:<28} {statistics.median(values):6.2f} s  ({min(values):.2f} to {max(values):.2f})")


def measure(command: list[str]) -> float:
    """Return the seconds that a command takes."""
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - started


if __name__ == "__main__":
    main(tyro.cli(Arguments))
