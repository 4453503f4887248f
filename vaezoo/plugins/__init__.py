"""The plugin hook, the kinds of component, and the catalogue of everything that a spec may name."""
