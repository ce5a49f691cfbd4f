"""Restoration of one picture with an untrained network as the prior: no training data, no weights.

Source: Ulyanov, Vedaldi, Lempitsky, "Deep image prior", CVPR 2018, arXiv:1711.10925. The modules here need
torch (``pip install 'walkaround[torch]'``), except the options.
"""
