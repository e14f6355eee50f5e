"""Pattern encoding: tokenization, truncation, label words, and in-context examples."""
