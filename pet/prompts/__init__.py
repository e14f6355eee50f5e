"""Prompt transfer: a library of trained prompts, and prompts as a starting point for other tasks."""
