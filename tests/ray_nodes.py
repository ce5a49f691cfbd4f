"""A Ray cluster of several nodes on this machine, in a process of its own that obeys lines on stdin.

``python -m tests.ray_nodes``: prints the address; then ``add`` starts a node with one CPU and what Ray takes
for a GPU, ``kill`` sends SIGKILL to a node's raylet, ``quit`` ends everything. Each answers with a line.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any


def main() -> None:
    from ray.cluster_utils import Cluster

    cluster: Any = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    nodes = [cluster.add_node(num_cpus=1, num_gpus=1) for _ in range(2)]
    cluster.wait_for_nodes()
    say(cluster.address)
    for line in sys.stdin:
        if line == "add\n":
            nodes.append(cluster.add_node(num_cpus=1, num_gpus=1))
        elif line == "kill\n":
            node = nodes.pop(0)
            (raylet,) = node.all_processes["raylet"]
            os.kill(raylet.process.pid, signal.SIGKILL)
        elif line == "quit\n":
            break
        say("done")
    cluster.shutdown()
    say("gone")


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
