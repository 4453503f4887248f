"""Pretrained weights by name: what registries list, fetched, verified, loaded, published and made again."""
