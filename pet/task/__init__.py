"""Tasks, patterns, verbalizers, and the task file reader."""
