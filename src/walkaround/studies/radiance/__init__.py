"""``study radiance``: new views from a network pretrained on many objects, against one trained on few.

Section 4.1 of MVImgNet's paper (arXiv:2303.06042): a generalisable radiance field (IBRNet) learns from the
views of a target set alone, or first from many other objects. Objects of the target's test part are rendered
from a few of their pictures; the rest of :mod:`walkaround.radiance` is what a user renders with.
"""
