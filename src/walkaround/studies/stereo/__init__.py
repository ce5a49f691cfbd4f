"""Multi-view stereo: what pretraining on views without depth is worth when labels are few."""
