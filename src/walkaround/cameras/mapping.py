"""From verified pairs to reconstructions, with COLMAP's mappers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from walkaround.io.colmap import load_pycolmap, remove_tree

FOCAL_RATIO = (0.3, 4.0)
"""Focal length over the long side that a hand-held camera can have."""
MAX_DISTORTION = 0.5


def run_mapper(
    database: Path,
    image_dir: Path,
    scratch_dir: Path,
    *,
    mapper: str,
    seed: int,
) -> list[Any]:
    """Run COLMAP's incremental (10.1109/CVPR.2016.445) or global (arXiv:2407.20219) mapper.

    One thread: with the seed, the poses are the same in each run; the features took the time before.

    Returns
    -------
    list of pycolmap.Reconstruction
        In no order of merit.
    """
    pycolmap = load_pycolmap()
    pycolmap.set_random_seed(seed)
    output = scratch_dir / "mapper"
    remove_tree(output)
    output.mkdir(parents=True)
    if mapper == "global":
        found = pycolmap.global_mapping(database, image_dir, output, _global_options(seed))
    else:
        found = pycolmap.incremental_mapping(database, image_dir, output, _incremental_options(seed))
    remove_tree(output)
    return [found[key] for key in sorted(found)]


def _incremental_options(seed: int) -> Any:
    options = load_pycolmap().IncrementalPipelineOptions()
    options.num_threads = 1
    options.mapper.num_threads = 1
    options.random_seed = seed
    options.mapper.random_seed = seed
    options.triangulation.random_seed = seed
    options.min_model_size = 3
    options.max_num_models = 10
    options.min_focal_length_ratio, options.max_focal_length_ratio = FOCAL_RATIO
    options.max_extra_param = MAX_DISTORTION
    options.extract_colors = True
    return options


def _global_options(seed: int) -> Any:
    options = load_pycolmap().GlobalPipelineOptions()
    options.num_threads = 1
    options.random_seed = seed
    return options
