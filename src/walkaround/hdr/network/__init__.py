"""The network that merges a window of alternating exposures (extra ``torch``)."""
