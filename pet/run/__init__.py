"""A run: stages, generations, and the pipeline."""
