"""Files that are written in whole or not at all, and the folder of a run."""
