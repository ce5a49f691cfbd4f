"""The documentation agrees with the program; ``make docs`` itself is run by .ci/run."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path

import pytest

from walkaround.cli import _COMMANDS

REPOSITORY = Path(__file__).parents[1]
DOCS = REPOSITORY / "docs"
PAGES = (REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md")))


def reference_names() -> set[str]:
    """Return the full names that docs/api.rst documents."""
    names, module = set(), ""
    for line in (DOCS / "api.rst").read_text(encoding="utf-8").splitlines():
        if found := re.match(r"\.\. (?:current)?module:: (\S+)", line):
            module = found[1]
        elif found := re.match(r"\.\. auto(?:class|function|data|exception):: (\S+)", line):
            names.add(found[1] if found[1].startswith("walkaround.") else f"{module}.{found[1]}")
    return names


@pytest.mark.parametrize(
    "path", [*PAGES, *sorted((REPOSITORY / "examples").glob("*.py"))], ids=lambda p: p.name
)
def test_what_users_are_told_to_import_is_in_the_reference(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for module, names in re.findall(
        r"^(?:>>> )?from (walkaround[\w.]*) import ([\w, ]+)$", text, re.MULTILINE
    ):
        for name in names.split(","):
            assert f"{module}.{name.strip()}" in reference_names()


@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(path: Path) -> None:
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"https?:|#", target):
            assert (path.parent / target.partition("#")[0]).exists(), target


def test_every_page_has_its_place() -> None:
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^[a-z]+$", index, re.MULTILINE))
    pages = {path.stem for path in DOCS.iterdir() if path.suffix in (".md", ".rst")} - {"index"}
    assert listed == pages, "a new page needs a line in a toctree of docs/index.md"


def test_pictures_are_small() -> None:
    pictures = [path for path in (DOCS / "images").iterdir() if path.suffix != ".py"]
    assert sum(path.stat().st_size for path in pictures if path.is_file()) < 1_500_000


def test_the_drawings_are_those_of_their_script(tmp_path: Path) -> None:
    script = tmp_path / "make_drawings.py"
    script.write_text((DOCS / "images" / "make_drawings.py").read_text(encoding="utf-8"), encoding="utf-8")
    runpy.run_path(str(script), run_name="__main__")
    drawn = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.glob("*.svg")}
    kept = {path.name: path.read_text(encoding="utf-8") for path in (DOCS / "images").glob("*.svg")}
    assert drawn == kept


@pytest.mark.parametrize("command", _COMMANDS)
def test_the_command_line_reference_has_every_option(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sphinx", reason="the extra docs is not installed")
    monkeypatch.syspath_prepend(str(DOCS / "_ext"))
    sys.modules.pop("cli_reference", None)
    import cli_reference

    printed = cli_reference.printed_help(command)
    _, description, groups = cli_reference.parse_help(printed)
    assert description.endswith(".")
    found = [signature for group in groups for signature, _ in group.options]
    flags = re.findall(r"^│ (-[\w.-]+)", printed, re.MULTILINE)
    assert flags == [re.split("[ ,]", signature)[0] for signature in found if signature.startswith("-")]
    assert all(text for group in groups for _, text in group.options)
