"""What multi-view data is good for: the studies of MVImgNet's paper, to be run by anybody (docs/studies.md).

A study is a package or module below this one and a line in :data:`STUDIES`; ``walkaround study NAME`` runs
it. How to add one: :mod:`walkaround.studies.frame`. Nothing here imports torch before it is used.
"""

from __future__ import annotations

import difflib
import importlib
from typing import TYPE_CHECKING

from walkaround.errors import UsageError

if TYPE_CHECKING:
    from walkaround.studies.frame import Study

STUDIES: dict[str, str] = {
    "classify": "walkaround.studies.classify.study:ClassifyStudy",
    "contrast": "walkaround.studies.contrast.study:ContrastStudy",
    "cloud": "walkaround.studies.clouds.study:CloudStudy",
    "saliency": "walkaround.studies.saliency.study:SaliencyStudy",
    "stereo": "walkaround.studies.stereo.study:StereoStudy",
    "radiance": "walkaround.studies.radiance.study:RadianceStudy",
}
"""Name -> ``module:Class`` of the study, loaded when it is chosen."""


def load_study(name: str) -> Study:
    """Return a study by its name.

    Raises
    ------
    UsageError
        There is none of that name.
    """
    if name not in STUDIES:
        near = difflib.get_close_matches(name, STUDIES, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(STUDIES)}."
        raise UsageError(f"There is no study {name!r:.40}. {hint}")
    module, _, kind = STUDIES[name].partition(":")
    study: Study = getattr(importlib.import_module(module), kind)()
    return study
