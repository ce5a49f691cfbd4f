"""docs/tutorial.md, word by word: a fresh environment, every command, every output."""

from __future__ import annotations

import os
import shutil
import site
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tutorial import Step, as_script, difference, read_steps

REPOSITORY = Path(__file__).parents[1]
PAGE = REPOSITORY / "docs" / "tutorial.md"
MARK = "@@@@ next command"


def environment() -> dict[str, str]:
    """Return variables with which ``pip install`` needs no network.

    The new environment sees the packages of this one; what it installs is walkaround alone, as a wheel.
    """
    pip = {"PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("COV_", "PIP_"))}
    path = os.pathsep.join([str(Path(sys.executable).parent), kept["PATH"]])  # python3 is this Python
    python = {"PATH": path, "PYTHONPATH": os.pathsep.join(site.getsitepackages()), "PYTHONUTF8": "1"}
    return {**kept, **pip, **python}


def copy_project(folder: Path) -> None:
    """Copy what ``pip install .`` reads."""
    names = ("pyproject.toml", "README.md", "LICENSE", "NOTICE")
    for name in names:
        shutil.copy(REPOSITORY / name, folder / name)
    shutil.copytree(REPOSITORY / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))


@pytest.mark.slow
def test_every_command_prints_what_the_page_says(tmp_path: Path) -> None:
    pytest.importorskip("hatchling", reason="hatchling builds the wheel without a network")
    copy_project(tmp_path)
    steps = read_steps(PAGE.read_text(encoding="utf-8"))
    done = subprocess.run(
        ["bash", "-c", as_script(steps, MARK)],
        cwd=tmp_path,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=1800,
    )
    printed = done.stdout.split(MARK + "\n")[1:]
    assert len(printed) == len(steps), done.stdout
    wrong = [difference(step, output) for step, output in zip(steps, printed, strict=True)]
    assert not any(wrong), "\n\n".join(filter(None, wrong))


def test_the_page_has_the_commands_that_a_newcomer_needs() -> None:
    commands = "\n".join(step.command for step in read_steps(PAGE.read_text(encoding="utf-8")))
    for needed in ("-m venv", "pip install .", "simulate", "build", "report", "doctest", "export"):
        assert needed in commands


def test_commands_and_outputs_are_read() -> None:
    page = "```console\n$ a -b\none\ntwo\n$ c\n```\n```sh\nnot this\n```\n```pycon\n>>> 1\n1\n\n```\n"
    first, second, third = read_steps(page)
    assert first == Step(command="a -b", expected=("one", "two"))
    assert second == Step(command="c", expected=())
    assert "doctest" in third.command and ">>> 1" in third.command


@pytest.mark.parametrize(
    ("expected", "printed"),
    [
        (("a b",), "a b\n"),
        (("...", "end"), "one\ntwo\nend\n"),
        (("...", "end"), "end\n"),
        (("took ... s",), "took 1.25 s\n"),
        (("~0.5 % done",), "0.26 % done\n"),
        (("~0.5 and ~20",), "0.9 and 11\n"),
        ((), ""),
    ],
)
def test_what_is_as_expected(expected: tuple[str, ...], printed: str) -> None:
    assert difference(Step(command="c", expected=expected), printed) == ""


@pytest.mark.parametrize(
    ("expected", "printed"),
    [
        (("a b",), "a c\n"),
        (("a",), "a\nmore\n"),
        (("...", "end"), "end\nmore\n"),
        (("~0.5",), "1.1\n"),
        (("~0.5",), "0.2\n"),
        (("~0.5",), "half\n"),
        (("a.c",), "abc\n"),
        ((), "a traceback\n"),
        (("a",), ""),
    ],
)
def test_what_is_not(expected: tuple[str, ...], printed: str) -> None:
    assert "printed:" in difference(Step(command="$ c", expected=expected), printed)


def test_the_shell_keeps_its_state_between_commands() -> None:
    steps = [Step(command=text, expected=()) for text in ("x=5", "false", "echo $? $x", "ls /nowhere")]
    done = subprocess.run(["bash", "-c", as_script(steps, MARK)], capture_output=True, text=True, check=False)
    outputs = done.stdout.split(MARK + "\n")[1:]
    assert outputs[:3] == ["", "", "1 5\n"] and "/nowhere" in outputs[3]
