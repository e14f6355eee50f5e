"""Weights of members, merging, soft labels and pseudo-labels."""
