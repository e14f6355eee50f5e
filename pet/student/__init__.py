"""Sequence classifiers, and their training."""
