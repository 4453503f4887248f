"""Generative models: component kinds, forward pass, user-facing model and training task."""
