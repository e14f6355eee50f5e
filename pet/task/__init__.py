"""Tasks, patterns, verbalizers, and the reader of task files."""
