"""PointMLP against an installable package with the same network (pip install --no-deps openpoints).

Weights are copied. openpoints 0.1.2 cannot be imported without its CUDA extension; its one file is loaded
beside stand-ins, with our farthest points, which have a test of their own. Skips, visibly, without it.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from walkaround.studies.clouds.neighbours import farthest_points  # noqa: E402
from walkaround.studies.clouds.pointmlp import ELITE_SHAPE, PAPER_SHAPE, PointMLP  # noqa: E402

_RENAMED = (
    (r"^embedding\.net\.", "embedding."),
    (r"^local_grouper_list\.(\d+)\.affine_alpha", r"stages.\1.scale"),
    (r"^local_grouper_list\.(\d+)\.affine_beta", r"stages.\1.shift"),
    (r"^pre_blocks_list\.(\d+)\.transfer\.net\.", r"stages.\1.transfer."),
    (r"^pre_blocks_list\.(\d+)\.operation\.", r"stages.\1.before."),
    (r"^pos_blocks_list\.(\d+)\.operation\.", r"stages.\1.after."),
    (r"\.net1\.", ".first."),
    (r"\.net2\.", ".second."),
    (r"^classifier\.", "head."),
)


class _Registry:
    def register_module(self) -> Any:
        return lambda kind: kind


def _reference(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.find_spec("openpoints")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("openpoints is not installed (pip install --no-deps openpoints)")
    for name in ("", ".loss", ".models", ".models.build", ".models.layers", ".models.layers.group"):
        stand_in = ModuleType(f"openpoints{name}")
        stand_in.__path__ = []  # type: ignore[attr-defined]
        stand_in.__getattr__ = lambda _: None  # type: ignore[method-assign]
        monkeypatch.setitem(sys.modules, stand_in.__name__, stand_in)
    sys.modules["openpoints.models.build"].MODELS = _Registry()  # type: ignore[attr-defined]
    sys.modules["openpoints.models.layers"].furthest_point_sample = farthest_points  # type: ignore[attr-defined]
    path = Path(spec.submodule_search_locations[0]) / "models" / "backbone" / "pointmlp.py"
    module_spec = importlib.util.spec_from_file_location("openpoints.models.backbone.pointmlp", path)
    assert module_spec is not None and module_spec.loader is not None
    module = importlib.util.module_from_spec(module_spec)
    module_spec.loader.exec_module(module)
    return module


def _ours(name: str) -> str:
    for pattern, new in _RENAMED:
        name = re.sub(pattern, new, name)
    return name


@pytest.mark.parametrize("elite", [False, True])
def test_pointmlp_gives_the_same_scores(monkeypatch: pytest.MonkeyPatch, elite: bool) -> None:
    shape = ELITE_SHAPE if elite else PAPER_SHAPE
    torch.manual_seed(0)
    theirs = _reference(monkeypatch).PointMLP(
        num_classes=15, embed_dim=shape.first, res_expansion=shape.bottleneck,
        dim_expansion=list(shape.growth), pre_blocks=list(shape.before), pos_blocks=list(shape.after),
    ).eval()  # fmt: skip
    state = theirs.state_dict()
    for name, value in state.items():
        if name.endswith(("running_mean", "affine_beta")):
            value.normal_(0, 0.1)
        elif name.endswith(("running_var", "affine_alpha")):
            value.uniform_(0.5, 1.5)
    network = PointMLP(15, shape=shape).eval()
    network.load_state_dict({_ours(name): value for name, value in state.items()})
    points = torch.randn(2, 512, 3) * 0.4
    with torch.no_grad():
        expected, found = theirs(points), network(points)
    assert expected.std() > 1e-3
    assert torch.allclose(found, expected, atol=1e-4, rtol=1e-4)
