"""Embeddings: texts as vectors of an untrained encoder."""
