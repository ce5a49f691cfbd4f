"""Scenes by number, for a DataLoader with a sampler."""

from __future__ import annotations

import logging
from pathlib import Path

from walkaround.dataset.readers import Dataset
from walkaround.dataset.shards.read import Shards
from walkaround.dataset.torch.batch import Reached, Skipped
from walkaround.dataset.torch.options import ViewOptions
from walkaround.dataset.torch.sample import Sample, load_sample
from walkaround.dataset.torch.source import Source
from walkaround.dataset.torch.workers import one_thread_in_workers, prepare_process
from walkaround.errors import WalkaroundError

logger = logging.getLogger(__name__)


class ViewDataset:
    """A map-style dataset: ``dataset[3]`` is the sample of scene 3.

    ``dataset[3]`` is that of epoch 0; :class:`SceneSampler` asks for ``(epoch, 3, progress)``, which is how
    the epoch reaches workers. A sample depends on nothing but the scene, the epoch and the options.

    Parameters
    ----------
    data
        A dataset, shards, or the path of either.

    Raises
    ------
    FormatError
        There is no such dataset.
    """

    def __init__(self, data: Dataset | Shards | Path | str, *, options: ViewOptions | None = None) -> None:
        prepare_process()
        self.options = options or ViewOptions()
        self.source = Source(data, self.options)
        if self.source.num_left_out:
            logger.info("%d scenes lack what is asked for and are left out", self.source.num_left_out)

    @property
    def num_left_out(self) -> int:
        """Scenes that the index shows to lack something; they have no number here."""
        return self.source.num_left_out

    @property
    def classes(self) -> tuple[str, ...]:
        """Class labels; ``class_index`` of a sample counts in them."""
        return self.source.classes

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, item: int | tuple[int, int, int]) -> Sample | Skipped:
        """Return a sample, or what says why there is none.

        Raises
        ------
        FormatError
            Something is missing or broken, and ``missing`` is ``error``.
        """
        one_thread_in_workers()
        epoch, number, reached = item if isinstance(item, tuple) else (0, item, 0)
        if not -len(self) <= number < len(self):
            raise IndexError(f"There are {len(self)} scenes, none with the number {number}.")
        return load_or_skip(self.source, number % len(self), self.options, Reached(epoch, 0, 1, reached))


def load_or_skip(source: Source, position: int, options: ViewOptions, progress: Reached) -> Sample | Skipped:
    """Return the sample of a scene in ``progress``'s epoch, or why there is none."""
    try:
        sample = load_sample(source.posed(position), options, progress.epoch)
    except WalkaroundError as error:
        if options.missing == "error":
            raise
        return Skipped(key=source.key(position), reason=str(error), progress=progress)
    sample["class_index"] = source.class_index(sample["class_label"])
    sample["progress"] = progress
    return sample
