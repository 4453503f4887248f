"""Specs: from strict YAML to a checked, frozen ``Spec`` whose every part knows its place in the file."""
