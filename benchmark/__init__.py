"""The benchmark: suites, the training loop, the engine and the ``retain`` command."""
