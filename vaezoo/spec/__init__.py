"""Specs: strict YAML to a checked ``Spec``, and from it to a composed task."""
