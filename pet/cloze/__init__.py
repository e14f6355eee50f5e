"""Filling patterns: encoding, truncation, and the tokens of label words."""
