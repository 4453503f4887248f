"""Plugins: their hooks, the kinds of component, and the catalogue of all components."""
