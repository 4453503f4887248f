"""The built-in file formats, which read and write examples; named by their file extensions."""
