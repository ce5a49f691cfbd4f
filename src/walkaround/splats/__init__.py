"""Gaussian splats fitted to one sequence (extra ``torch``): ``walkaround splat``, docs/render.md."""
