"""Metrics: measure a model on data and return named numbers with standard errors."""
