"""Prompts that travel: a library of learned vectors, and starting from what other tasks have learned."""
