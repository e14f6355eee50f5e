"""Use the results of a run: label, predict, evaluate and distill, on tables of any size."""
