"""The training loop, optimizers, the metric logger, and training in several processes."""
