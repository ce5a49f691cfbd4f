"""Training of the network from radiance images, anywhere (extra ``torch``)."""
