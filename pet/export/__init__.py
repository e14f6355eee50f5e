"""Classifiers and labels in the forms that other programs and the Hugging Face Hub read."""
