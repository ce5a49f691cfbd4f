"""A rendered capture with known truth: the demo, the tests, the accuracy benchmark."""

from walkaround.simulate.options import OBJECT_NAMES, TABLE_NAMES, SimulateOptions
from walkaround.simulate.write import SimulatedCapture, simulate_capture

__all__ = ["OBJECT_NAMES", "TABLE_NAMES", "SimulateOptions", "SimulatedCapture", "simulate_capture"]
