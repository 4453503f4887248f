"""Runs on disk: starting, resuming and opening them, their log, their report, and publishing their weights."""
