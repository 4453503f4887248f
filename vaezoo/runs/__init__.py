"""Runs on disk: training, resuming and opening them, their logs and reports, and publishing."""
