"""Reading COLMAP's models with their images: nothing is converted, their conventions are ours."""

from __future__ import annotations

from pathlib import Path

from walkaround.dataset.exchange.capture import (
    GivenCapture,
    GivenView,
    image_size_wh,
    images_in,
    in_order,
    inside,
    mask_beside,
)
from walkaround.dataset.exchange.options import ImportOptions
from walkaround.errors import FormatError
from walkaround.io.colmap import read_sparse_model

_MODEL_PLACES = ("sparse/0", "sparse", ".", "colmap/sparse/0", "dense/sparse", "dense/0/sparse")
_MODEL_FILES = ("cameras.bin", "cameras.txt")


def find_colmap(source: Path) -> Path | None:
    """Return the folder of the model in a source."""
    for place in _MODEL_PLACES:
        if any((source / place / name).is_file() for name in _MODEL_FILES):
            return source / place
    return None


def read_colmap(source: Path, options: ImportOptions) -> GivenCapture:
    """Read a folder with a model (text or binary) and ``images/``; masks in ``masks/``.

    Raises
    ------
    FormatError
        The model or images are missing or broken.
    """
    folder = find_colmap(source)
    if folder is None:
        raise FormatError(f"{source} holds no COLMAP model: cameras.bin or cameras.txt in it or in sparse/0.")
    model = read_sparse_model(folder)
    images = _image_folder(source, folder)
    masks = (images.parent / "masks", images.parent / "mask") if options.masks else ()
    views = []
    for view, seen in zip(model.views, model.observations, strict=True):
        image = inside(images, view.frame.image, f"{folder}: the name of an image")
        size = image_size_wh(image)
        if size != (view.camera.width, view.camera.height):
            raise FormatError(
                f"{image} has {size[0]}x{size[1]} pixels, its camera "
                f"{view.camera.width}x{view.camera.height}. Take the images that the model was made from."
            )
        views.append(
            GivenView(
                image=image,
                camera=view.camera,
                cam_from_world=view.cam_from_world,
                mask=mask_beside(masks, image),
                seen=seen,
            )
        )
    used = {view.image for view in views}
    return GivenCapture(
        views=in_order(views),
        others=tuple(path for path in images_in(images) if path not in used),
        points_in_world=model.points_in_world,
        colors=model.colors,
        errors_px=model.errors_px,
        notes={"format": "colmap"},
    )


def _image_folder(source: Path, model: Path) -> Path:
    """Return where the images lie: ``images`` in the source or beside the model."""
    places = [source / "images", model.parent / "images", model.parent.parent / "images", source]
    for place in places:
        if images_in(place) or (place.name == "images" and place.is_dir()):
            return place
    raise FormatError(f"{source} holds a COLMAP model and no folder images with its pictures.")
