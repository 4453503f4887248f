"""Data sets, and the path from their storage to batches on the training device."""
