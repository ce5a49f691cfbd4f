"""Contrastive learning across views: are other views of an object better positives than augmented copies?

After the pilot study of MVImgNet (arXiv:2303.06042). What the arms are here is our reading, see
:mod:`walkaround.studies.contrast.study`.
"""
