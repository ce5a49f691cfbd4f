"""What can be chosen about the saliency study."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from walkaround.errors import UsageError
from walkaround.studies.frame.recipe import Recipe

NETWORK_NAMES = ("full", "small", "tiny")
FLOWS = ("dis", "exact", "files")


@dataclass(frozen=True, kw_only=True)
class SaliencyRecipe(Recipe):
    """Salient objects in single frames, and how well the masks of neighbouring frames agree."""

    data: Path | None = None
    """A dataset with masks: one of ours, or MVImgNet's; None renders one (`walkaround simulate-dataset`)."""
    classes: int = 8
    """Classes of the rendered miniature."""
    instances: int = 8
    """Objects a class of the rendered miniature."""
    views: int = 6
    """Views an object of the rendered miniature."""
    arc_deg: float = 50.0
    """How far the camera walks around each object of the miniature."""
    max_objects: int = 0
    """Of a dataset, take so many objects a class at most; 0: all."""
    max_views: int = 24
    """Of each object, take so many views at most: the first ones, which lie next to each other."""
    size_px: int = 64
    """Side of the square images that the network sees."""
    network: str = "tiny"
    """full (44.0 million parameters), small (1.13 million) or tiny (0.41 million, at half the size)."""
    flow: str = "dis"
    """Where the flow of the consistency loss comes from. dis: OpenCV's, from the images. exact: from depth
    and cameras, where there is depth. files: of RAFT or any other, below --flow-dir."""
    flow_dir: Path | None = None
    """With --flow files: <class label>/<instance id>/001_to_002.flo (or .npy) and 002_to_001.flo below it, of
    the whole images 001.jpg and 002.jpg."""
    tolerance_px: float = 1.0
    """A pixel counts when the flow there and back ends so near to it, at --size-px."""
    weight: float = 1.0
    """Of the consistency loss beside the supervised one."""
    consistent_from: float = 0.3
    """Share of the training that passes before the consistency loss sets in, at full weight."""
    steps: int = 200
    """Training steps, the same for every arm."""
    batch: int = 8
    """Pairs of neighbouring frames a step, so twice as many images; the same for every arm."""
    rate: float = 2e-3
    """Highest learning rate (AdamW; warm-up for a twentieth of the steps, then a cosine to 0)."""
    weight_decay: float = 0.01
    """Of AdamW."""
    bfloat16: bool = True
    """Convolutions in bfloat16 (autocast)."""

    def check(self) -> None:
        """Raise :class:`UsageError` when a value makes no sense."""
        super().check()
        tests = (
            (self.network in NETWORK_NAMES, "network", f"one of {', '.join(NETWORK_NAMES)}"),
            (self.flow in FLOWS, "flow", f"one of {', '.join(FLOWS)}"),
            (
                (self.flow == "files") == (self.flow_dir is not None),
                "flow_dir",
                "given with --flow files alone",
            ),
            (self.classes >= 1, "classes", "1 or more"),
            (self.instances >= 3, "instances", "3 or more: training, validation and test need one each"),
            (self.views >= 2, "views", "2 or more"),
            (20 <= self.arc_deg <= 360, "arc_deg", "20 to 360"),
            (self.max_objects >= 0, "max_objects", "0 (all) or more"),
            (self.max_views >= 2, "max_views", "2 or more"),
            (32 <= self.size_px <= 512 and self.size_px % 32 == 0, "size_px", "a multiple of 32, 32 to 512"),
            (self.tolerance_px > 0, "tolerance_px", "above 0"),
            (self.weight > 0, "weight", "above 0"),
            (0 <= self.consistent_from < 1, "consistent_from", "0 or more, below 1"),
            (self.steps >= 1, "steps", "1 or more"),
            (self.batch >= 1, "batch", "1 or more"),
            (self.rate > 0, "rate", "above 0"),
            (self.weight_decay >= 0, "weight_decay", "0 or more"),
        )
        for passed, name, wanted in tests:
            if not passed:
                raise UsageError(f"study saliency: {name} is {getattr(self, name)!r}; it must be {wanted}.")


FULL = SaliencyRecipe(
    max_views=30, size_px=320, network="full", steps=60_000, batch=6, rate=1e-3, checkpoint_every=1000,
)  # fmt: skip
"""For real data (``--data``) and a GPU; nobody has measured it here."""
