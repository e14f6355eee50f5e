"""Serve a classifier over HTTP."""
