"""The report of a whole dataset: a static site that works from ``file://``, without a network."""
