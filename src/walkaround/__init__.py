"""walkaround: walk-around videos of objects become a multi-view dataset.

Importing this package is instant: stages and their libraries load when they are used.
Start at :mod:`walkaround.pipeline`, which tells the story from video to dataset.
"""

__version__ = "0.1.0"
