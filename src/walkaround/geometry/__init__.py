"""Rigid and similarity transforms, projection with lens distortion, depth to points and back."""

from walkaround.geometry.projection import normalised_rays, project, transform_points
from walkaround.geometry.similarity import Similarity, robust_similarity, umeyama

__all__ = ["Similarity", "normalised_rays", "project", "robust_similarity", "transform_points", "umeyama"]
