"""Reads commands and what they should print out of a page, and compares that with what they print.

Two kinds of fenced blocks count. In ``console``, a line that starts with ``$ `` is a command of the
shell, the lines after it are its output. ``pycon`` holds Python's prompt and is left to doctest. In an
output ``...`` stands for anything: within a line, or, alone on its line, for any number of lines;
``~0.5`` is a number between half and twice as much.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_BLOCK = re.compile(r"^```(console|pycon)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NUMBER = r"\d+(?:\.\d+)?"


@dataclass(frozen=True, kw_only=True)
class Step:
    """One command and the lines that it should print."""

    command: str
    expected: tuple[str, ...]


def read_steps(page: str) -> list[Step]:
    """Return the commands of a page in their order.

    All ``pycon`` blocks together are one session and one command, where the last of them stands: doctest,
    which prints nothing when all is as expected.
    """
    steps: list[Step] = []
    blocks = _BLOCK.findall(page)
    session = [body for kind, body in blocks if kind == "pycon"]
    to_come = len(session)
    for kind, body in blocks:
        if kind == "pycon":
            to_come -= 1
            if not to_come:
                run = "python -m doctest -o ELLIPSIS /dev/stdin"
                steps.append(Step(command=f"{run} <<'END'\n{''.join(session)}END", expected=()))
            continue
        for part in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
            command, *output = part.rstrip("\n").split("\n")
            steps.append(Step(command=command, expected=tuple(output)))
    return steps


def as_script(steps: list[Step], mark: str) -> str:
    """Return one shell script of all commands; a line with ``mark`` comes before the output of each.

    The mark keeps ``$?``, which the next command may ask for.
    """
    head = f"exec 2>&1\nmark() {{ local code=$?; printf '{mark}\\n'; return $code; }}\n"
    return head + "".join(f"mark\n{step.command}\n" for step in steps)


def difference(step: Step, printed: str) -> str:
    """Return what is wrong with an output, in a sentence; empty when it is as expected."""
    lines = [line.rstrip() for line in printed.rstrip("\n").split("\n")] if printed.strip() else []
    if _match(list(step.expected), lines):
        return ""
    return f"$ {step.command}\nexpected:\n" + "\n".join(step.expected) + "\nprinted:\n" + "\n".join(lines)


def _match(expected: list[str], lines: list[str]) -> bool:
    if not expected:
        return not lines
    if expected[0] == "...":
        return any(_match(expected[1:], lines[start:]) for start in range(len(lines) + 1))
    return bool(lines) and _match_line(expected[0], lines[0]) and _match(expected[1:], lines[1:])


def _match_line(expected: str, line: str) -> bool:
    parts = re.split(rf"(\.\.\.|~{_NUMBER})", expected.rstrip())  # every second part is a wildcard
    wild = {"...": ".*"}
    pattern = "".join(
        wild.get(part, f"({_NUMBER})") if number % 2 else re.escape(part) for number, part in enumerate(parts)
    )
    found = re.fullmatch(pattern, line)
    if found is None:
        return False
    about = [float(part[1:]) for part in parts[1::2] if part not in wild]
    return all(mean / 2 <= float(seen) <= 2 * mean for mean, seen in zip(about, found.groups(), strict=True))
