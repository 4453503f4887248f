"""Compares runs and pretrained weights: their specs, costs and metrics."""
