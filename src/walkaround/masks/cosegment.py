"""Masks without cameras and without a model: one object in a few photos, segmented together.

For captures that structure from motion cannot place (a handful of photos from far apart). Each photo is cut
into superpixels. Three kinds of evidence, as log odds, say which of them show the object:

- *backdrop*: what is connected to the image's border without crossing an edge is background (boundary
  connectivity, Zhu et al. 2014, 10.1109/CVPR.2014.360), at several tolerances;
- *centre*: the object is what the photos are taken of; it may reach on from there;
- *appearance*: one model of colour and roughness for the object in all photos together (what only one photo
  shows at its centre counts little), one of the background for each photo.

A minimum cut along the image's edges decides; the appearance models are then learned again from its result,
as in GrabCut (Rother et al. 2004, 10.1145/1015706.1015720). All this runs with several weights of the
evidence: the share of runs that call a superpixel object is its probability, and no single constant decides.
Every photo shows the object, so what reaches half of the photo's best share is taken; of that, the central
part, its outline moved to the pixels' edges.

It is worse than a learned model, and worse than the geometry of a finished reconstruction: the object must
be near the middle of every photo, and differ from what lies behind it. Thin objects get lost.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import breadth_first_order, dijkstra, maximum_flow

from walkaround.errors import InputError
from walkaround.io.image import shrink
from walkaround.masks.central import central_part, fill_holes, move_outline
from walkaround.masks.superpixels import SuperpixelGraph, build_graph
from walkaround.types import BoolArray, ByteArray, Float32Array, FloatArray, Progress, no_progress


@dataclass(frozen=True, kw_only=True)
class CosegmentOptions:
    """Constants of the method; ``benchmarks/masks.py --sensitivity`` varies each by 30 %."""

    size_px: int = 400
    """Long side at which superpixels are made and cut."""
    superpixels: int = 900
    """About how many a photo gets."""
    refine_edges: bool = True
    """Whether the outline moves to the pixels' edges at the end."""
    outline_size_px: int = 800
    """Long side at which the outline moves to the edges."""
    tolerances: tuple[float, ...] = (5.0, 7.0, 10.0)
    """Lab distances along a path that still count as the same backdrop."""
    edge_barrier: float = 1.5
    """How much an edge along the path counts against a step of colour."""
    backdrop_weights: tuple[float, ...] = (0.35, 0.65)
    centre_radii: tuple[float, ...] = (0.24, 0.28, 0.32)
    """Distances from the centre, in widths and heights, where inside and outside are equally likely."""
    centre_weight: float = 2.5
    """Log odds at the very centre."""
    smoothness: tuple[float, ...] = (3.0, 7.0)
    """Cost of an outline without an edge, in log odds of one superpixel a side."""
    edge_scale: float = 1.5
    """Edge strength, in means of the photo, at which an outline costs 1/e of that."""
    clusters: int = 96
    """Colours, of all photos together, that the appearance models tell apart."""
    cluster_width: float = 2.5
    """Softness of that distinction, Lab units."""
    rounds: int = 3
    """How often cut and appearance follow one another."""


@dataclass(frozen=True, kw_only=True)
class Cosegmented:
    """One photo's result."""

    mask: BoolArray  # (H, W)
    fg_probability: Float32Array  # (H, W) 0..1, the share of runs before the outline moved


@dataclass(frozen=True, kw_only=True)
class _Photo:
    graph: SuperpixelGraph
    backdrop: FloatArray  # (N,) log odds of object against backdrop
    colours: FloatArray  # (N, K) membership in the shared clusters
    hints: FloatArray  # (N,) log odds from points known to lie on the object


def cosegment(
    images_srgb: Sequence[ByteArray],
    *,
    options: CosegmentOptions | None = None,
    points_on_object: Sequence[FloatArray] | None = None,
    progress: Progress = no_progress,
) -> list[Cosegmented]:
    """Segment the one object that all photos show near their middle.

    Parameters
    ----------
    images_srgb
        (H, W, 3) uint8 each; sizes may differ. Three to twenty are sensible; one works on its own evidence.
    points_on_object
        For each photo (M, 2) pixel positions (x, y) that are known to lie on the object, for example features
        matched between photos whose backgrounds differ; positive evidence for their superpixels.

    Raises
    ------
    InputError
        There are no photos, or one is smaller than 32 pixels.
    """
    options = options or CosegmentOptions()
    if not images_srgb or min(min(image.shape[:2]) for image in images_srgb) < 32:
        raise InputError("Co-segmentation needs photos of at least 32 x 32 pixels; none or smaller given.")
    graphs = []
    for number, image in enumerate(images_srgb):
        small = brighten(shrink(image, options.size_px))
        graphs.append(build_graph(small, options.superpixels))
        progress(0.5 * (number + 1) / len(images_srgb))
    colours = _shared_colours(graphs, options)
    points = points_on_object or [np.zeros((0, 2))] * len(graphs)
    photos = [
        _Photo(graph=g, backdrop=_backdrop(g, options), colours=c, hints=_hints(g, image.shape, p))
        for g, c, p, image in zip(graphs, colours, points, images_srgb, strict=True)
    ]
    shares = _vote(photos, options)
    progress(0.8)
    results = []
    for number, (image, photo, share) in enumerate(zip(images_srgb, photos, shares, strict=True)):
        results.append(_finish(image, share[photo.graph.labels], options))
        progress(0.8 + 0.2 * (number + 1) / len(images_srgb))
    return results


def brighten(image_srgb: ByteArray) -> ByteArray:
    """Scale a dark image so that its brightest two hundredths become white (at most eightfold)."""
    white = max(float(np.percentile(image_srgb.max(axis=2), 98)), 32.0)
    return np.clip(image_srgb * (255.0 / white), 0, 255).astype(np.uint8) if white < 250 else image_srgb


def _finish(image: ByteArray, share: Float32Array | FloatArray, options: CosegmentOptions) -> Cosegmented:
    """Choose the central part and bring it to the edges and the photo's size."""
    middle = shrink(image, options.outline_size_px)
    size = middle.shape[1], middle.shape[0]
    soft = cv2.resize(share.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
    mask = fill_holes(central_part(soft > 0.5 * soft.max()))
    if options.refine_edges:
        mask = move_outline(brighten(middle), mask)
    full = image.shape[1], image.shape[0]
    final = cv2.resize(mask.astype(np.float32), full, interpolation=cv2.INTER_LINEAR) > 0.5
    probability = cv2.resize(soft, full, interpolation=cv2.INTER_LINEAR)
    return Cosegmented(mask=np.asarray(final), fg_probability=np.asarray(probability, np.float32))


def _log_odds(probability: FloatArray) -> FloatArray:
    clipped = np.clip(probability, 0.05, 0.95)
    return np.asarray(np.log(clipped / (1 - clipped)))


def _backdrop(graph: SuperpixelGraph, options: CosegmentOptions) -> FloatArray:
    """Return the (N,) log odds that a superpixel is not connected to the border.

    Boundary connectivity: how much border a superpixel's own region has for its size. The region is soft,
    exp(-d^2 / 2 s^2) of the cheapest path d; steps as small as usual between neighbours are free.
    """
    step = np.maximum(graph.colour_step, options.edge_barrier * graph.edge)
    nearest = np.full(graph.count, np.inf)
    for side in (0, 1):
        np.minimum.at(nearest, graph.pairs[:, side], step)
    usual = float(nearest[np.isfinite(nearest)].mean())
    border = np.flatnonzero(graph.at_border)
    i, j = np.triu_indices(len(border), 1)  # the border is one region when its colours are alike
    a, b = np.r_[graph.pairs[:, 0], border[i]], np.r_[graph.pairs[:, 1], border[j]]
    jump = np.linalg.norm(graph.lab[border[i]] - graph.lab[border[j]], axis=1)
    cost = np.maximum(np.r_[step, jump] - usual, 0) + 1e-6
    touching = a < b
    # a pair that touches at the border is in both lists: the cheaper way counts, not the sum
    order = np.argsort(cost[touching], kind="stable")
    key, first = np.unique((a * graph.count + b)[touching][order], return_index=True)
    kept = cost[touching][order][first]
    links = coo_matrix((kept, (key // graph.count, key % graph.count)), shape=(graph.count,) * 2).tocsr()
    path = dijkstra(links, directed=False)
    backdrop = []
    for tolerance in options.tolerances:
        region = np.exp(-(path**2) / (2 * tolerance**2))
        connectivity = region[:, border].sum(axis=1) / np.sqrt(region @ graph.area)
        backdrop.append(1 - np.exp(-(connectivity**2) / 2))
    return _log_odds(1 - np.mean(backdrop, axis=0))


def _shared_colours(graphs: list[SuperpixelGraph], options: CosegmentOptions) -> list[FloatArray]:
    """Return for each photo the (N, K) membership of its superpixels in clusters shared by all photos."""
    features = [np.concatenate([g.lab, g.roughness[:, None]], axis=1) for g in graphs]
    stacked = (np.concatenate(features) * (0.7, 1.3, 1.3, 0.7)).astype(np.float32)
    cv2.setRNGSeed(0)
    stop = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_COUNT, 30, 1e-3)
    number = min(options.clusters, len(stacked))
    _, _, centres = cv2.kmeans(stacked, number, None, stop, 2, cv2.KMEANS_PP_CENTERS)
    squared = ((stacked[:, None] - centres[None]) ** 2).sum(axis=2).astype(np.float64)
    squared -= squared.min(axis=1, keepdims=True)
    member = np.exp(-squared / (2 * options.cluster_width**2))
    member /= member.sum(axis=1, keepdims=True)
    return np.split(member, np.cumsum([g.count for g in graphs])[:-1])


def _hints(graph: SuperpixelGraph, shape: tuple[int, ...], points: FloatArray) -> FloatArray:
    height, width = graph.labels.shape
    x = np.clip(points[:, 0] * width / shape[1], 0, width - 1).astype(int)
    y = np.clip(points[:, 1] * height / shape[0], 0, height - 1).astype(int)
    return np.where(np.isin(np.arange(graph.count), graph.labels[y, x]), 3.0, 0.0)


def _vote(photos: list[_Photo], options: CosegmentOptions) -> list[FloatArray]:
    """Return for each photo the (N,) share of settings under which a superpixel is object."""
    settings = list(itertools.product(options.centre_radii, options.backdrop_weights, options.smoothness))
    shares = [np.zeros(photo.graph.count) for photo in photos]
    for radius, weight, smoothness in settings:
        for share, inside in zip(shares, _solve(photos, radius, weight, smoothness, options), strict=True):
            share += inside / len(settings)
    return shares


def _solve(
    photos: list[_Photo], radius: float, weight: float, smoothness: float, options: CosegmentOptions
) -> list[BoolArray]:
    """Cut all photos, learn the appearance and the object's place from the result, and again."""
    start = [_centre_odds((p.graph.position**2).sum(axis=1) / radius**2, options) for p in photos]
    others = [weight * photo.backdrop + photo.hints for photo in photos]
    centres = start
    inside = [1 / (1 + np.exp(-(centre + other))) for centre, other in zip(centres, others, strict=True)]
    cuts: list[BoolArray] = []
    for _ in range(options.rounds):
        looks = _appearance(photos, inside)
        cuts = [
            _cut(photo.graph, centre + other + look, smoothness, options.edge_scale)
            for photo, centre, other, look in zip(photos, centres, others, looks, strict=True)
        ]
        inside = [np.where(cut, 0.95, 0.05) for cut in cuts]
        centres = [
            np.maximum(first, _place_odds(photo.graph, cut, first, options))
            for photo, cut, first in zip(photos, cuts, start, strict=True)
        ]
    return cuts


def _centre_odds(squared: FloatArray, options: CosegmentOptions) -> FloatArray:
    """Return log odds that fall from ``centre_weight`` and are 0 where ``squared`` distance is 1."""
    odds = options.centre_weight * (1 - squared)
    return np.asarray(np.clip(odds, -4.0, options.centre_weight))


def _place_odds(
    graph: SuperpixelGraph, cut: BoolArray, centre: FloatArray, options: CosegmentOptions
) -> FloatArray:
    """Return (N,) log odds of the ellipse that was found, a little larger than it: an object may stand
    beside the middle, and be long."""
    share = cut * graph.area * np.exp(np.minimum(centre, 0))
    if share.sum() < 3:
        return centre
    share = share / share.sum()
    offset = graph.position - share @ graph.position
    spread = (offset * share[:, None]).T @ offset + 0.02**2 * np.eye(2)
    squared = np.einsum("ni,ij,nj->n", offset, np.linalg.inv(spread), offset)
    return _centre_odds(squared / 5.0, options)  # a full ellipse ends at 4


def _appearance(photos: list[_Photo], inside: list[FloatArray]) -> list[FloatArray]:
    """Return (N,) log odds a photo: the object's colours in all photos against this photo's background.

    The photos' colour distributions are averaged as square roots, so that a colour which many photos show
    on the object counts more than one that a single photo shows much of.
    """
    objects = [_distribution(p, x) for p, x in zip(photos, inside, strict=True)]
    shared = np.mean(np.sqrt(objects), axis=0) ** 2
    shared /= max(float(shared.sum()), 1e-9)
    least = 1e-3 / len(shared)
    odds = []
    for photo, x in zip(photos, inside, strict=True):
        background = _distribution(photo, 1 - x)
        ratio = (photo.colours @ shared + least) / (photo.colours @ background + least)
        odds.append(np.clip(np.log(ratio), -3.0, 3.0))
    return odds


def _distribution(photo: _Photo, weight: FloatArray) -> FloatArray:
    """Return the (K,) share of each cluster among the superpixels, weighted."""
    total = (weight * photo.graph.area) @ photo.colours
    return np.asarray(total / max(float(total.sum()), 1e-9))


def _cut(graph: SuperpixelGraph, odds: FloatArray, smoothness: float, edge_scale: float) -> BoolArray:
    """Return the (N,) superpixels on the object's side of the minimum cut."""
    scale = max(edge_scale * float(graph.edge.mean()), 1e-6)
    along = smoothness * graph.length * np.exp(-graph.edge / scale)
    gain = odds * graph.area
    node = np.arange(graph.count)
    source, sink = np.full(graph.count, graph.count), np.full(graph.count, graph.count + 1)
    rows = np.r_[graph.pairs[:, 0], graph.pairs[:, 1], source, node]
    columns = np.r_[graph.pairs[:, 1], graph.pairs[:, 0], node, sink]
    capacity = np.r_[along, along, np.maximum(gain, 0), np.maximum(-gain, 0)]
    whole = np.round(np.minimum(capacity, 1e5) * 1000).astype(np.int32)
    network = coo_matrix((whole, (rows, columns)), shape=(graph.count + 2,) * 2).tocsr()
    network.eliminate_zeros()
    left = network - maximum_flow(network, graph.count, graph.count + 1).flow
    left.data[left.data < 0] = 0
    left.eliminate_zeros()
    reached = breadth_first_order(left, graph.count, return_predecessors=False)
    inside = np.zeros(graph.count + 2, np.bool_)
    inside[reached] = True
    return inside[: graph.count]
