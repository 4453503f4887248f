"""Suites: many specs, seeds and data sets under one budget, as runs that can be continued."""
