"""Examples: data sets, file formats, batches, conditions, and the loader that brings them to the device."""
