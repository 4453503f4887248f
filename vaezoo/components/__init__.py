"""The built-in components; data sets, file formats and metrics have packages of their own."""
