"""View-consistent salient objects: does a loss on warped predictions make masks agree across views?

After MVImgNet (arXiv:2303.06042). How the loss, the flow and the agreement are defined here is our reading,
see :mod:`walkaround.studies.saliency.losses` and :mod:`walkaround.studies.saliency.flow`.
"""
