"""Atomic files and run directories."""
