"""View-consistent classification: does training on views of objects make predictions agree across views?

After MVImgNet, section 4.3 (arXiv:2303.06042). The definitions of its training sets here are our reading,
see :mod:`walkaround.studies.classify.sets`.
"""
