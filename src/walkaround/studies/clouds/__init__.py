"""Recognition of point clouds: networks, loaders, masked autoencoding, and what pretraining buys.

Nothing here imports torch before a network is built.
"""
