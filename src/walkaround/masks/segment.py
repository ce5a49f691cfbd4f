"""The mask stage: one solid for the object, rendered into every view, outlines moved to image edges."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from scipy import ndimage

from walkaround.errors import InputError, SequenceRejected
from walkaround.io.depth import read_measured_depth, write_grey
from walkaround.masks.evidence import gather_evidence
from walkaround.masks.flow import carry_mask
from walkaround.masks.options import MasksOptions
from walkaround.masks.plain import find_coloured, plain_masks
from walkaround.masks.silhouettes import refine_outline, render_silhouette, seen_core, tidy
from walkaround.masks.solid import MaskView, Solid, count_inside, find_object, find_void
from walkaround.threads import use_numba_threads
from walkaround.types import BoolArray, Float32Array, Frame, Progress, SparseModel, View, no_progress


@dataclass(frozen=True, kw_only=True)
class MasksResult:
    """What the stage reports beside the files."""

    scores: dict[str, float]
    notes: dict[str, Any] = field(default_factory=dict)


def write_masks(
    image_dir: Path,
    frames: tuple[Frame, ...],
    model: SparseModel,
    depth_dir: Path,
    mask_dir: Path,
    *,
    options: MasksOptions,
    num_threads: int = 0,
    progress: Progress = no_progress,
) -> MasksResult:
    """Write ``<stem>.png`` (8 bit, 0 or 255, the image's size) for every frame.

    Registered frames get the object's solid rendered and refined; the others get their nearest registered
    neighbour's mask carried over by optical flow.

    Scores: ``object_views_share``, registered views in which the object shows; ``object_share``, its mean
    share of the frame; ``border_share``, views in which it is cut by the border; ``mask_agreement``, mean
    IoU between the masks and the solid carved from all of them; ``mask_flicker``, mean change of area
    between neighbouring frames.

    Raises
    ------
    SequenceRejected
        No object at the centre of the walk-around.
    """
    threads = use_numba_threads(num_threads)
    with ThreadPoolExecutor(threads) as pool:
        views = list(
            pool.map(lambda view: load_view(image_dir, depth_dir, view, options.max_size), model.views)
        )
        progress(0.15)
        probabilities = _learned(views, options)
        solid, masks, hulls = find_masks(views, options, probabilities, pool.map)
    progress(0.8)
    agreement = [iou(mask, hull) for mask, hull in zip(masks, hulls, strict=True)]
    by_image = {view.view.frame.image: mask for view, mask in zip(views, masks, strict=True)}
    _write_all(image_dir, frames, views, by_image, mask_dir)
    progress(1.0)
    notes = {
        "support_plane": None if solid.plane is None else [float(x) for x in solid.plane],
        "frame_agreement": {
            view.view.frame.image: round(value, 4) for view, value in zip(views, agreement, strict=True)
        },
    }
    return MasksResult(scores=_scores(masks, agreement), notes=notes)


def find_masks(
    views: list[MaskView],
    options: MasksOptions,
    probabilities: list[Float32Array] | None,
    run: Callable[..., Any] = map,
) -> tuple[Solid, list[BoolArray], list[BoolArray]]:
    """Return the solid, the masks, and the silhouettes they agree on.

    Before a plain background the object's visual hull; else, or when that gives nothing, a solid object, then
    an object of thin parts.

    Raises
    ------
    SequenceRejected
        None of them is at the centre of the walk-around.
    """
    plain = plain_masks(views)
    radius = shared_radius(views)
    for kind in ("plain", "solid", "thin"):
        if kind == "plain" and plain is None:
            continue
        if kind == "plain" and plain is not None:
            solid = find_coloured(views, plain[0], options.grid, radius)
        else:
            solid = find_object(views, options.grid, radius, thin=kind == "thin")
        if solid is None:
            continue
        masks, hulls = solve_masks(
            views, solid, options, probabilities, run,
            thin=kind != "solid", plain=plain if kind == "plain" else None,
        )  # fmt: skip
        shown = [float(mask.mean()) > 1e-3 for mask in masks]
        if sum(shown) >= 0.5 * len(views):
            return solid, masks, hulls
    raise SequenceRejected(
        "no_object",
        "No solid object was found at the centre of the walk-around.",
        {"object_views_share": 0.0},
    )


def load_view(image_dir: Path, depth_dir: Path, view: View, max_size: int) -> MaskView:
    """Read a view's image and depth at the working size.

    Raises
    ------
    InputError
        The image cannot be read.
    """
    path = image_dir / view.frame.image
    image = cv2.imread(str(path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if image is None:
        raise InputError(f"{path} cannot be read; run again with --overwrite to extract the frames anew.")
    depth, valid = read_measured_depth(depth_dir / (Path(view.frame.image).stem + ".png"))
    scale = min(1.0, max_size / max(image.shape[:2]))
    size = max(16, round(image.shape[1] * scale)), max(16, round(image.shape[0] * scale))
    if scale < 1.0:
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        depth = cv2.resize(np.where(valid, depth, 0), size, interpolation=cv2.INTER_NEAREST)
    depth = depth.astype(np.float32)
    return MaskView(view=view, image_srgb=image, depth=depth, void=find_void(depth > 0))


def shared_radius(views: list[MaskView]) -> float:
    """Half the side of the cube in which the object is sought: what the frames show around the origin."""
    reach = [
        float(np.linalg.norm(view.view.centre)) * 0.5 * max(view.size_hw) / view.K[0, 0] for view in views
    ]
    return float(min(0.85, 1.05 * np.median(reach)))


def solve_masks(
    views: list[MaskView],
    solid: Solid,
    options: MasksOptions,
    probabilities: list[Float32Array] | None,
    run: Callable[..., Any] = map,
    *,
    thin: bool = False,
    plain: tuple[list[BoolArray], list[BoolArray]] | None = None,
) -> tuple[list[BoolArray], list[BoolArray]]:
    """Return the masks and the silhouettes of the solid they agree on.

    First the masks that each view's own evidence gives; the solid is carved by them; then each view's outline
    is moved to the image's edges, near the carved solid's outline only. A thin part that some views miss is
    carved away by them: what a view has measured stays in its mask when no view knows better.
    """
    bands = [max(2, round(0.005 * max(view.size_hw))) for view in views]
    evidence = list(
        run(
            lambda n: gather_evidence(views[n], solid, None if plain is None else (plain[0][n], plain[1][n])),
            range(len(views)),
        )
    )
    surface = solid.surface
    first = list(run(lambda view: render_silhouette(solid, surface, view) > 0, views))
    rough = [
        seen_core(silhouette, e.on_object, e.not_object, band)
        for silhouette, e, band in zip(first, evidence, bands, strict=True)
    ]
    possible = [r | (f & ~e.not_object) for r, f, e in zip(rough, first, evidence, strict=True)]
    hulls = first if thin else hull_silhouettes(views, solid, rough, run)
    widest = first if thin else hull_silhouettes(views, solid, possible, run)

    def solve(index: int) -> BoolArray:
        e, probability = evidence[index], None if probabilities is None else probabilities[index]
        near = cv2.dilate(widest[index].astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
        on_object = e.on_object & near
        if plain is not None:  # the colour knows the outline to the pixel
            return tidy(on_object)
        measured = (
            cv2.morphologyEx(on_object.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8)) > 0
        )
        silhouette = hulls[index] | (measured & widest[index])
        if not options.refine_edges:
            return rough[index] & near
        elsewhere = (e.elsewhere & ~silhouette) | (~near & e.not_object) | e.like_background
        return refine_outline(views[index], silhouette, on_object, elsewhere, bands[index], probability)

    masks = list(run(solve, range(len(views))))
    return masks, first if thin else hull_silhouettes(views, solid, masks, run)


def hull_silhouettes(
    views: list[MaskView], solid: Solid, masks: list[BoolArray], run: Callable[..., Any] = map
) -> list[BoolArray]:
    """Carve the grown solid by all masks (a voxel stays if nine tenths of the views have it inside)."""
    grown = ndimage.binary_dilation(solid.occupied, iterations=2)
    index = np.argwhere(grown)
    inside, seen = count_inside(views, index * solid.voxel + solid.origin, masks)
    keep = inside >= 0.9 * np.maximum(seen, 1)
    hull = np.zeros_like(grown)
    hull[tuple(index[keep].T)] = True
    carved = Solid(occupied=hull, origin=solid.origin, voxel=solid.voxel, plane=solid.plane)
    surface = carved.surface
    return list(run(lambda view: render_silhouette(carved, surface, view) > 0, views))


def iou(a: BoolArray, b: BoolArray) -> float:
    """Intersection over union; 1 when both are empty."""
    union = float((a | b).sum())
    return float((a & b).sum()) / union if union else 1.0


def _learned(views: list[MaskView], options: MasksOptions) -> list[Float32Array] | None:
    if options.model is None:
        return None
    from walkaround.masks.onnx import load_model

    model = load_model(options.model)
    return [model.fg_probability(view.image_srgb[..., ::-1]) for view in views]


def _write_all(
    image_dir: Path,
    frames: tuple[Frame, ...],
    views: list[MaskView],
    by_image: dict[str, BoolArray],
    mask_dir: Path,
) -> None:
    registered = [view.view.frame for view in views]
    for frame in frames:
        image = cv2.imread(str(image_dir / frame.image), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        if image is None:
            raise InputError(f"{image_dir / frame.image} cannot be read; run again with --overwrite.")
        if frame.image in by_image:
            mask = by_image[frame.image]
        else:
            nearest = min(registered, key=lambda other: (abs(other.index - frame.index), other.index))
            source = next(view for view in views if view.view.frame.image == nearest.image)
            mask = carry_mask(source.image_srgb, by_image[nearest.image], image)
        size = image.shape[1], image.shape[0]
        soft = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
        write_grey(
            mask_dir / (Path(frame.image).stem + ".png"), np.where(soft > 0.5, 255, 0).astype(np.uint8)
        )


def _scores(masks: list[BoolArray], agreement: list[float]) -> dict[str, float]:
    areas = np.array([float(mask.mean()) for mask in masks])
    shown = areas > 1e-4
    cut = [bool(m[0].any() or m[-1].any() or m[:, 0].any() or m[:, -1].any()) for m in masks]
    change = np.abs(np.diff(areas)) / np.maximum(np.minimum(areas[1:], areas[:-1]), 1e-6)
    return {
        "object_views_share": float(shown.mean()),
        "object_share": float(areas.mean()),
        "border_share": float(np.mean(cut)),
        "mask_agreement": float(np.mean(agreement)),
        "mask_agreement_worst": float(np.min(agreement)),
        "mask_flicker": float(np.median(change)) if len(change) else 0.0,
    }
