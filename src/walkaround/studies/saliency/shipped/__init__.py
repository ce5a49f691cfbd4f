"""Training of the mask model that comes with walkaround (``walkaround saliency-train``, docs/masks.md).

Rendered objects, recoloured and pasted before drawn and photographed backgrounds; nothing of it is looked at
again by the benchmark.
"""
