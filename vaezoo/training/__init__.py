"""The training loop over phases, optimizers by name, the metric logger, and the processes that train together."""
