"""What needs nothing else of vaezoo: errors, files, paths, random seeds, devices."""
