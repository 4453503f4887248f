"""Metrics: a model and data to named numbers with their uncertainty."""
