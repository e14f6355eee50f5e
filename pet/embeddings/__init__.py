"""Embeddings: texts as vectors of an encoder that is not trained."""
