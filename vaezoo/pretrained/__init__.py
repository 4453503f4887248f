"""Pretrained weights: listed in registries, downloaded, verified, cached and loaded by name."""
