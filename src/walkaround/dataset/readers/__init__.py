"""Reading datasets: :class:`Dataset` over our own layout, MVImgNet, MVImgNet 2.0 and MVPNet."""

from walkaround.dataset.readers.dataset import Dataset
from walkaround.dataset.readers.scene import Scene

__all__ = ["Dataset", "Scene"]
