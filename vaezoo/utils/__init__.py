"""Modules that need no other room of vaezoo: errors, files, paths, random seeds, devices."""
