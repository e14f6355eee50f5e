"""Masked language model pretraining on your own text."""
