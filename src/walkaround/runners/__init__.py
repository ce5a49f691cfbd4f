"""What drives builds: one sequence in a process of its own (:mod:`walkaround.runners.build`)."""
