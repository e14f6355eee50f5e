"""Ensemble members: anything that scores a table of texts."""
