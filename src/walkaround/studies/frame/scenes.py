"""Which scenes of a dataset a study looks at."""

from __future__ import annotations

from collections import Counter

from walkaround.dataset.readers import Dataset, Scene


def scenes_by_class(dataset: Dataset, max_objects: int) -> list[Scene]:
    """Return the scenes in their order, the first ``max_objects`` of each class; 0: all."""
    counts: Counter[str] = Counter()
    chosen = []
    for key in dataset.keys():  # noqa: SIM118  a Dataset is a sequence of scenes
        label = key.rpartition("/")[0]
        counts[label] += 1
        if not max_objects or counts[label] <= max_objects:
            chosen.append(dataset[key])
    return chosen
