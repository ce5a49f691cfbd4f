"""Views of objects as rows of images: what the studies of recognition share.

Reading or rendering them, where they stand, networks, and how alike the views of an object are classified.
"""
