"""The recipe of ``study cloud``; its defaults are the miniature."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from walkaround.errors import UsageError
from walkaround.studies.frame.recipe import Recipe

SHARES = (0.01, 0.1, 0.5, 1.0)
"""Shares of the training labels that each network is fine-tuned with; at least one cloud a class."""
SOURCES = ("shapes", "mvpnet", "dataset")
TARGETS = ("shapes", "mvpnet", "scanobjectnn", "dataset")
NETWORK_NAMES = ("pointnet", "pointnet2", "pointmlp", "pointmlp-elite", "pointmae")
SIZES = ("small", "paper")


@dataclass(frozen=True, kw_only=True)
class CloudRecipe(Recipe):
    """What to pretrain on, what to recognise, and how."""

    source: str = "shapes"
    """Clouds for pretraining: shapes (simulated, clean), mvpnet or dataset."""
    target: str = "shapes"
    """Clouds to recognise: shapes (others, noisy, cut and turned), mvpnet, scanobjectnn or dataset."""
    networks: tuple[str, ...] = ("pointnet", "pointnet2", "pointmlp", "pointmae")
    """Of pointnet, pointnet2, pointmlp, pointmlp-elite and pointmae."""
    pretrain: bool = True
    """Train each network a second time after pretraining: pointmae by filling in masked patches, the others
    by the classes of the source."""
    size: str = "small"
    """small or paper: the networks' width and depth."""
    num_points: int = 256
    """Points a cloud."""
    classes: int = 20
    """Families of simulated shapes."""
    source_instances: int = 60
    """Simulated shapes a class for pretraining."""
    train_instances: int = 100
    """Simulated shapes a class to train with; 1 % of the labels is then one cloud a class."""
    test_instances: int = 20
    """Simulated shapes a class to test with."""
    mvpnet: Path | None = None
    """Folder of MVPNet: a folder a class id, with PCD files."""
    mvpnet_splits: Path | None = None
    """Folder of mvpnet_split_train.json and mvpnet_split_val.json; the folder of MVPNet when not given."""
    missing_ok: bool = False
    """Leave out clouds of MVPNet's split that are not there."""
    scanobjectnn: Path | None = None
    """Folder of ScanObjectNN's main_split and main_split_nobg."""
    variant: str = "PB_T50_RS"
    """OBJ_ONLY, OBJ_BG or PB_T50_RS."""
    dataset: Path | None = None
    """A dataset with clouds and splits (walkaround splits)."""
    pretrain_steps: int = 800
    """Steps of pretraining."""
    steps: int = 240
    """Steps of training with each share of the labels."""
    batch_size: int = 16
    """Clouds a step."""
    rate: float = 1e-3
    """Highest learning rate, of AdamW; it rises over a tenth of the steps and falls as a cosine."""
    weight_decay: float = 0.05
    """Of AdamW."""
    label_smoothing: float = 0.1
    """Share of each label given to all classes."""

    def check(self) -> None:
        """Raise UsageError when a value makes no sense, or a path that is needed was not given."""
        super().check()
        for name, values in (("source", SOURCES), ("target", TARGETS), ("size", SIZES)):
            if getattr(self, name) not in values:
                raise UsageError(f"--{name} is {getattr(self, name)!r:.40}; give one of {', '.join(values)}.")
        unknown = [name for name in self.networks if name not in NETWORK_NAMES]
        if unknown or not self.networks or len(set(self.networks)) < len(self.networks):
            said = f"{unknown[0]!r:.40}" if unknown else f"{self.networks}"
            raise UsageError(f"--networks has {said}; give different ones of {', '.join(NETWORK_NAMES)}.")
        used = {self.target, *([self.source] if self.pretrain else [])}
        for name in ("mvpnet", "scanobjectnn", "dataset"):
            if name in used and getattr(self, name) is None:
                raise UsageError(f"--{name} is needed for this source or target: give its folder.")
        for name in (
            "num_points", "source_instances", "train_instances", "test_instances", "pretrain_steps", "steps",
        ):  # fmt: skip
            if getattr(self, name) < 1:
                raise UsageError(f"--{name.replace('_', '-')} is {getattr(self, name)}; give 1 or more.")
        if self.batch_size < 2:
            raise UsageError(f"--batch-size is {self.batch_size}; batch normalisation needs 2 or more.")
        if self.rate <= 0 or self.weight_decay < 0 or not 0 <= self.label_smoothing < 1:
            raise UsageError(
                f"--rate {self.rate}, --weight-decay {self.weight_decay}, --label-smoothing"
                f" {self.label_smoothing}: give a rate above 0, no negative decay, a smoothing below 1."
            )


PRESETS = {
    "miniature": CloudRecipe(),
    "full": CloudRecipe(
        source="mvpnet", target="scanobjectnn", size="paper", num_points=2048, pretrain_steps=160_000,
        steps=107_000, batch_size=32, rate=5e-4, label_smoothing=0.2, checkpoint_every=2000,
    ),
    "mvpnet": CloudRecipe(
        source="mvpnet", target="mvpnet", pretrain=False, size="paper", num_points=2048, steps=330_000,
        batch_size=32, rate=5e-4, label_smoothing=0.2, checkpoint_every=2000,
    ),
}  # fmt: skip
"""``full`` is MVPNet to ScanObjectNN, about the 300 epochs of the papers; ``mvpnet`` its own split, 150."""
