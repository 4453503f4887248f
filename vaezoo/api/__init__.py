"""The public names: ``users`` are called, ``authors`` are what plugins subclass and build on; the
rest is internal."""
