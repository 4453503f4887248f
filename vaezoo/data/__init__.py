"""Data sets, file formats, batches, conditions, and the loader of batches."""
