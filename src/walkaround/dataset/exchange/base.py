"""What every export format is: a class that is given one scene after the other."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from walkaround.dataset.exchange.options import ExportOptions
from walkaround.dataset.readers import Scene


@dataclass(frozen=True, kw_only=True)
class About:
    """What formats that describe a whole dataset tell about it."""

    name: str
    licence: str | None = None
    split_of: Mapping[str, str] = field(default_factory=dict)
    """Scene key -> ``train``, ``val`` or ``test``; empty without splits."""


class Exporter(ABC):
    """Writes scenes in one format.

    Parameters
    ----------
    out
        The folder of the export.
    options
        What is written.
    about
        The dataset that the scenes come from.
    """

    one_dataset: ClassVar[bool] = False
    """The format holds many scenes at once; otherwise each scene has a folder that stands for itself."""
    needs_cameras: ClassVar[bool] = True
    """A scene without cameras cannot be exported; in a whole dataset it is left out."""

    beside: ClassVar[bool] = False
    """The format is a few files that may lie in the dataset's own folder."""

    def __init__(self, out: Path, options: ExportOptions, about: About) -> None:
        self.out = out
        self.options = options
        self.about = about

    @abstractmethod
    def add(self, scene: Scene, folder: Path) -> None:
        """Write one scene.

        Parameters
        ----------
        folder
            Where the scene's files go: ``out`` itself, or ``<class>/<instance>`` below it.

        Raises
        ------
        FormatError
            The scene lacks what the format needs, or is broken.
        OutputError
            The folder cannot be written to.
        """

    def finish(self) -> None:  # noqa: B027  most formats have nothing to close
        """Write what is about all scenes."""
