"""Losses, masking, batching, and the one training loop."""
