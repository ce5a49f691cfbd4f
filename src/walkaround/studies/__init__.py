"""What multi-view data is good for: studies that train and compare, ``walkaround study NAME``."""
