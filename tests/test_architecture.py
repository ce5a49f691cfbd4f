"""The house rules of CONTRIBUTING.md that a machine can check."""

from __future__ import annotations

import ast
import warnings
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "walkaround"
STAGES = {
    "capture", "frames", "hdr", "restore", "cameras", "depth", "masks", "cloud",
    "dataset", "quality", "simulate",
}  # fmt: skip
LEAVES = {"types", "errors", "geometry", "io"}
# plain tables of names and limits, without any library: vocabulary, like types
SHARED = {"walkaround.dataset.schema", "walkaround.quality.rules"}
MODULES = sorted(PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    parts = ["walkaround", *path.relative_to(PACKAGE).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path) -> set[str]:
    """Return the absolute names of everything that a module imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def part_of(module: str) -> str:
    return module.split(".")[1] if module.startswith("walkaround.") else ""


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports(path: Path) -> None:
    module = name_of(path)
    own = part_of(module)
    for imported in imports_of(path):
        if any(imported.startswith(shared) for shared in SHARED):
            continue
        other = part_of(imported)
        if own in STAGES and other in STAGES:
            assert other == own, f"{module} imports {imported}: stages never import each other"
        if own in LEAVES:
            assert other in LEAVES | {""}, f"{module} imports {imported}: leaves import leaves only"
        if own in STAGES | LEAVES:
            assert other not in ("pipeline", "workspace", "cli", "commands", "site"), (
                f"{module} imports {imported}"
            )
        if imported.split(".")[0] == "pycolmap":
            assert module == "walkaround.io.colmap", f"{module} imports pycolmap: go through io/colmap.py"
    assert "import *" not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_habits(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert not tree.body or ast.get_docstring(tree), f"{path} does not say what it is for"
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called != "print", f"{path}:{node.lineno} prints; use logging"
            assert called != "sys.exit", f"{path}:{node.lineno} exits; raise an error of errors.py"


def test_lengths() -> None:
    """Long files and functions are allowed when they say why; the list is a warning, not a failure."""
    long_ones = []
    for path in MODULES:
        text = path.read_text(encoding="utf-8")
        if text.count("\n") > 400:
            long_ones.append(f"{name_of(path)}: {text.count(chr(10))} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef) and (node.end_lineno or 0) - node.lineno > 60:
                long_ones.append(f"{name_of(path)}.{node.name}: {(node.end_lineno or 0) - node.lineno} lines")
    if long_ones:
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            warnings.warn("; ".join(long_ones), stacklevel=1)
