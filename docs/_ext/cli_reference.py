"""The command-line reference, written from what ``walkaround COMMAND --help`` prints.

``.. cli-reference::`` becomes a section a command with its options. Nothing is kept in the docs that could
drift from the program: the help itself comes from the options' dataclasses.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
from dataclasses import dataclass, field
from unittest import mock

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from walkaround import cli

WIDTH = "100"  # columns; on more, tyro sets its boxes beside each other


@dataclass(frozen=True, kw_only=True)
class Group:
    """A box of the help: its title, what stands above its options, and (signature, text) of each."""

    title: str
    lead: list[str] = field(default_factory=list)
    options: list[tuple[str, str]] = field(default_factory=list)


def printed_help(command: str | None = None) -> str:
    """Return what ``walkaround [COMMAND] --help`` writes."""
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")  # tyro asks for the encoding
    terminal = mock.patch.dict(os.environ, {"COLUMNS": WIDTH, "NO_COLOR": "1"})
    with terminal, contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
        cli.main([command, "--help"] if command else ["--help"])
    out.seek(0)
    return out.read()


def parse_help(text: str) -> tuple[str, str, list[Group]]:
    """Take the help of a command apart: usage, description, boxes."""
    head, *rest = re.split(r"^╭─ (.*?) ─*╮$", text, flags=re.MULTILINE)
    usage, _, description = head.strip().partition("\n\n")
    groups = [_parse_box(title, body) for title, body in zip(rest[::2], rest[1::2], strict=True)]
    return usage.removeprefix("usage: "), " ".join(description.split()), groups


def _parse_box(title: str, body: str) -> Group:
    rows = [line[2:-1].rstrip() for line in body.splitlines() if line.startswith("│")]
    group = Group(title=title)
    rule = next((number for number, row in enumerate(rows) if row.startswith("───")), None)
    if rule is not None:
        group.lead.extend(rows[:rule])
        rows = rows[rule + 1 :]
    for row in rows:
        if group.options and group.options[-1][0].count("{") > group.options[-1][0].count("}"):
            group.options[-1] = (group.options[-1][0] + row, "")  # a list of choices over several lines
        elif row and not row.startswith(" "):
            signature, _, said = row.partition("  ")
            group.options.append((signature.strip(), said.strip()))
        elif row.strip() and group.options:
            signature, said = group.options[-1]
            group.options[-1] = (signature, f"{said} {row.strip()}".strip())
    return group


def _as_rst(text: str) -> str:
    """Return help text with code spans and options as literals, our pages as links, all else as it is."""
    parts = re.split(r"(``[^`]+``|`[^`]+`|(?<![\w-])--[a-z][\w.-]*[\w])", text)
    said = "".join(
        f"``{part.strip('`')}``" if number % 2 else re.sub(r"([*|\\_])", r"\\\1", part)
        for number, part in enumerate(parts)
    )
    return re.sub(r"docs/(\w+)\.md", r":doc:`\1`", said)


def _write_option(signature: str, text: str) -> list[str]:
    said, _, default = text.partition("(default: ")
    lines = [f".. option:: {signature}", "", f"   {_as_rst(said.strip())}"]
    default = default.rstrip().removesuffix(")").strip()
    if default and default not in ("None", "False"):
        lines += ["", f"   Default: ``{default}``."]
    return [*lines, ""]


def _write_command(name: str) -> list[str]:
    usage, description, groups = parse_help(printed_help(name))
    lines = [f"walkaround {name}", "-" * (len(name) + 11), "", f".. program:: walkaround {name}", ""]
    lines += ["::", "", *(f"   {line}" for line in usage.splitlines()), "", _as_rst(description), ""]
    for group in groups:
        if group.title not in ("options", "positional arguments"):
            lines += [f".. rubric:: {group.title.capitalize()}", ""]
        if group.lead:
            lines += [_as_rst(" ".join(group.lead)), ""]
        for signature, text in group.options:
            if not signature.startswith("-h,"):
                lines += _write_option(signature, text)
    return lines


class CliReference(SphinxDirective):
    """``.. cli-reference::``: every command, in the order of ``walkaround --help``."""

    def run(self) -> list[nodes.Node]:
        """Return a section a command."""
        overview = printed_help()
        lines = ["::", "", *(f"   {line}" for line in overview.splitlines()), ""]
        for name in re.findall(r"^  ([a-z]+) {2,}", overview.partition("commands:")[2], flags=re.MULTILINE):
            lines += _write_command(name)
        return self.parse_text_to_nodes("\n".join(lines), allow_section_headings=True)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("cli-reference", CliReference)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
