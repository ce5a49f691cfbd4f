"""Files: video, images, COLMAP models, point clouds, depth maps."""
