"""Splats as the PLY that 3DGS writes and viewers read (SuperSplat, nerfstudio, gsplat, Blender add-ons)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from walkaround.errors import FormatError
from walkaround.io.atomic import write_bytes
from walkaround.io.pointcloud import read_ply_table
from walkaround.splats.gaussians import MAX_DEGREE, Gaussians


def write_splats(path: Path, gaussians: Gaussians) -> None:
    """Write binary little-endian PLY, atomically.

    Fields, all float32: x y z, nx ny nz (0), f_dc_0..2 and f_rest_* (spherical harmonics, one colour after
    the other), opacity (before the sigmoid), scale_0..2 (logarithms), rot_0..3 (w, x, y, z; unit).
    """
    rest = gaussians.harmonics[:, 1:].transpose(1, 2).reshape(len(gaussians), -1)
    columns = {
        **_numbered("{}", "xyz", gaussians.means),
        **_numbered("n{}", "xyz", torch.zeros(len(gaussians), 3)),
        **_numbered("f_dc_{}", range(3), gaussians.harmonics[:, 0]),
        **_numbered("f_rest_{}", range(rest.shape[1]), rest),
        "opacity": gaussians.logits,
        **_numbered("scale_{}", range(3), gaussians.log_scales),
        **_numbered("rot_{}", range(4), torch.nn.functional.normalize(gaussians.rotations, dim=1)),
    }
    table = torch.stack(list(columns.values()), dim=1).detach().cpu().numpy().astype("<f4")
    lines = ["ply", "format binary_little_endian 1.0", f"element vertex {len(table)}"]
    lines += [f"property float {name}" for name in columns]
    write_bytes(path, "\n".join([*lines, "end_header", ""]).encode() + table.tobytes())


def read_splats(path: Path) -> Gaussians:
    """Read splats of any tool that writes 3DGS's fields.

    Raises
    ------
    FormatError
        The file is damaged, or a PLY of something else.
    """
    table = read_ply_table(path)
    names = table.dtype.names or ()
    num_rest = sum(name.startswith("f_rest_") for name in names)
    degree = {3 * ((d + 1) ** 2 - 1): d for d in range(MAX_DEGREE + 1)}.get(num_rest)
    wanted = ["x", "y", "z", "opacity"] + [
        f"{part}_{k}" for part, n in (("f_dc", 3), ("scale", 3), ("rot", 4)) for k in range(n)
    ]
    missing = [name for name in wanted if name not in names]
    if missing or degree is None:
        raise FormatError(
            f"{path} holds no Gaussian splats ({', '.join(missing[:3]) or f'{num_rest} f_rest'}): a PLY with"
            " x, y, z, f_dc, f_rest, opacity, scale and rot is wanted, as `walkaround splat` writes it."
        )

    def columns(*fields: str) -> torch.Tensor:
        return torch.from_numpy(np.stack([table[name] for name in fields], axis=1).astype(np.float32))

    rest = columns(*(f"f_rest_{k}" for k in range(num_rest))) if num_rest else torch.zeros(len(table), 0)
    rest = rest.view(len(table), 3, -1).transpose(1, 2)
    return Gaussians(
        means=columns("x", "y", "z"),
        log_scales=columns(*(f"scale_{k}" for k in range(3))),
        rotations=columns(*(f"rot_{k}" for k in range(4))),
        logits=columns("opacity")[:, 0],
        harmonics=torch.cat([columns(*(f"f_dc_{k}" for k in range(3)))[:, None], rest], dim=1),
    )


def _numbered(pattern: str, names: object, values: torch.Tensor) -> dict[str, torch.Tensor]:
    """Name the columns of (N, K)."""
    return {pattern.format(name): values[:, k] for k, name in enumerate(names)}  # type: ignore[arg-type, var-annotated]
