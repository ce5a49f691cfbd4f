"""What can be chosen about the data of a study of views."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from walkaround.errors import UsageError
from walkaround.studies.frame.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class ViewsRecipe(Recipe):
    """Fields that the studies of views share."""

    study: ClassVar[str]
    """The study's name, for messages."""

    data: Path | None = None
    """A dataset: one of ours, or MVImgNet's; None renders a miniature (`walkaround simulate-dataset`)."""
    classes: int = 10
    """Classes of the rendered miniature."""
    instances: int = 24
    """Objects a class of the rendered miniature."""
    views: int = 12
    """Views an object of the rendered miniature."""
    max_objects: int = 0
    """Of a dataset, take so many objects a class at most; 0: all."""
    max_views: int = 24
    """Of each object, take so many views at most, evenly."""
    size_px: int = 64
    """Side of the images that the network sees."""
    crop: str = "object"
    """object: a square around the mask. whole: the whole image."""

    def check(self) -> None:
        """Raise :class:`UsageError` when a value makes no sense."""
        super().check()
        for passed, name, wanted in self.tests():
            if not passed:
                raise UsageError(
                    f"study {self.study}: {name} is {getattr(self, name)!r}; it must be {wanted}."
                )

    def tests(self) -> tuple[tuple[bool, str, str], ...]:
        """Return what is right, the field, and what it must be; a study's recipe adds its own."""
        return (
            (self.crop in ("object", "whole"), "crop", "object or whole"),
            (self.classes >= 2, "classes", "2 or more"),
            (self.instances >= 3, "instances", "3 or more: training, validation and test need one each"),
            (self.views >= 2, "views", "2 or more"),
            (self.max_objects >= 0, "max_objects", "0 (all) or more"),
            (self.max_views >= 2, "max_views", "2 or more"),
            (32 <= self.size_px <= 512 and self.size_px % 16 == 0, "size_px", "a multiple of 16, 32 to 512"),
        )
