"""A small learned multi-view stereo network: features, plane sweep, cost volume, soft argmin. Needs torch."""
