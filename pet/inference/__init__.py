"""Using what a run has left, at any size."""
