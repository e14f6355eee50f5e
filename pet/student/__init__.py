"""Sequence classifiers and their distillation."""
