"""Tuning methods, one file each, and members that share a pretrained model."""
