"""Pretrained weights by name: what registries list, downloaded, verified, cached and loaded."""
