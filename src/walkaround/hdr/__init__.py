"""High dynamic range frames from videos of alternating exposures."""
