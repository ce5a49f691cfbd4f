"""What an image of a simulated dataset costs: CPU-seconds, and bytes on disk.

python benchmarks/simulate_dataset.py [--classes 20] [--instances 1] [--views 16] [--size 128] [--repeat 3]
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

from walkaround.simulate.dataset_options import SimulateDatasetOptions
from walkaround.simulating import simulate_dataset


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, value in (("classes", 20), ("instances", 1), ("views", 16), ("size", 128), ("repeat", 3)):
        parser.add_argument(f"--{name}", type=int, default=value)
    given = parser.parse_args()
    options = SimulateDatasetOptions(
        classes=given.classes, instances=given.instances, views=given.views, size=given.size
    )
    costs, size = [], 0
    with tempfile.TemporaryDirectory() as scratch:
        warm = SimulateDatasetOptions(classes=1, instances=1, views=2, size=32)
        simulate_dataset(Path(scratch) / "warm", options=warm, workers=1)  # compiles
        for number in range(given.repeat):
            root = Path(scratch) / str(number)
            start = time.process_time()
            made = simulate_dataset(root, options=options, workers=1)
            costs.append((time.process_time() - start) / made.num_images)
            size = sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
    result = {
        "images": made.num_images,
        "cpu_s_an_image": {
            "median": round(statistics.median(costs), 4),
            "least": round(min(costs), 4),
            "most": round(max(costs), 4),
        },
        "kb_an_image": round(size / made.num_images / 1000, 1),
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
