"""The built-in components of every kind but data sets, file formats and metrics, which lie in rooms of their own."""
