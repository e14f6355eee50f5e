"""Weights, merging, and soft labels."""
