"""What the source may never do: unpickle, run text, unpack blindly, load a model that nobody chose."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import clips
from walkaround.masks.models import MODELS

PACKAGE = Path(__file__).parents[1] / "src" / "walkaround"
MODULES = sorted(PACKAGE.rglob("*.py"))

FORBIDDEN = {
    r"(pickle|dill|cloudpickle|marshal|joblib|pandas)\.(load|loads|read_pickle|Unpickler)": "unpickles",
    r"(shelve|dbm)\.\w+": "unpickles",
    r"(builtins\.)?(eval|exec|compile|__import__)": "runs text",
    r"os\.(system|popen|exec\w*|spawn\w*)": "runs a command",
    r"yaml\.(load|unsafe_load|full_load)\w*": "makes objects of text",
    r".*\.(extractall|unpack_archive)": "unpacks blindly",
    r"(tempfile\.)?mktemp": "guesses a file name",
    r"torch\.(hub\..*|jit\.load|package\..*)": "loads code",
    r"numba\.pycc\..*|ctypes\.cdll\..*": "loads code",
}
"""Called name (a whole match) -> what is wrong with it."""
ALLOWED = {
    ("runners/_channel.py", "pickle.loads"): "the child reads what its parent sends, never the reverse"
}
NETWORK = {
    "io/fetch.py", "masks/models.py", "runners/ray.py", "dataset/shards/place.py",
    "viewer/gateway.py", "viewer/window.py",
}  # fmt: skip
"""Inputs, models by name, a Ray cluster that the user names, shards at a URL; the viewer, which listens."""
NETWORK_MODULES = {
    "urllib.request",
    "http.client",
    "requests",
    "httpx",
    "aiohttp",
    "ftplib",
    "fsspec",
}


def place(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    """Yield the calls in a module, with names as imported: ``from pickle import loads`` hides nothing."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    full: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            full |= {alias.asname or alias.name: alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            full |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            head, dot, rest = ast.unparse(node.func).partition(".")
            yield full.get(head, head) + dot + rest, node


def given(call: ast.Call, name: str) -> str | None:
    return next((ast.unparse(item.value) for item in call.keywords if item.arg == name), None)


@pytest.mark.parametrize("path", MODULES, ids=place)
def test_no_dangerous_call(path: Path) -> None:
    for name, call in calls(path):
        where = f"{path}:{call.lineno}: {name}"
        for pattern, wrong in FORBIDDEN.items():
            if re.fullmatch(pattern, name):
                assert (place(path), name) in ALLOWED, f"{where} {wrong}"
        if name.startswith("socket."):
            assert name == "socket.gethostname" or place(path) in NETWORK, f"{where} reaches the network"
        assert given(call, "shell") in (None, "False"), f"{where} with a shell"
        assert given(call, "allow_pickle") in (None, "False"), f"{where} unpickles"
        if name.endswith(("torch.load", "safe_globals", "add_safe_globals")):
            assert name == "torch.load" and given(call, "weights_only") == "True", (
                f"{where}: weights_only=True"
            )


@pytest.mark.parametrize("path", MODULES, ids=place)
def test_only_few_modules_reach_the_network(path: Path) -> None:
    imported = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
    assert place(path) in NETWORK or not imported & NETWORK_MODULES


def test_the_rules_see_what_they_should(tmp_path: Path) -> None:
    """The rules themselves can fail."""
    path = tmp_path / "x.py"
    path.write_text(
        "from pickle import loads as f\nimport pickle as p\nimport torch\nf(b'')\np.load(x)\ntorch.load(x)\n"
        "t.extractall()\neval('1')\n"
    )
    found = [name for name, _ in calls(path)]
    assert found == ["pickle.loads", "pickle.load", "torch.load", "t.extractall", "eval"]
    hits = [any(re.fullmatch(pattern, name) for pattern in FORBIDDEN) for name in found]
    assert hits == [True, True, False, True, True]


def test_models_by_name_have_a_pinned_hash() -> None:
    for name, model in MODELS.items():
        assert re.fullmatch(r"[0-9a-f]{64}", model.sha256) and model.url.startswith("https://"), name


DRIVER = """
import sys
from walkaround.cli import main
code = main(sys.argv[1:])
print(code, *sorted({"av", "cv2", "pycolmap", "numba", "tarfile"} & set(sys.modules)))
"""


@pytest.mark.parametrize("kind", ["video", "photos.zip", "damaged.mp4"])
def test_the_driver_decodes_nothing(kind: str, tmp_path: Path) -> None:
    """Libraries that decode are not even loaded where a batch is driven from."""
    source = tmp_path / kind
    if kind == "video":
        source = clips.write_video(tmp_path / "v.mp4", clips.walk(10, step=0))
    else:
        source.write_bytes(b"PK\3\4" if kind == "photos.zip" else b"\0\0\0\x18ftypmp42" + bytes(100))
    command = [sys.executable, "-c", DRIVER, "build", str(source), "--out", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == (["3"] if kind == "video" else ["2"]), done.stderr
    assert "Traceback" not in done.stderr
