"""The built-in file formats: examples read from and written to files, by their ending."""
