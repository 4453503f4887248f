"""Training: optimizers by name, the loop over phases, and the processes it runs in."""
