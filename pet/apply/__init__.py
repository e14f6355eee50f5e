"""Using what a run has left: labelling, predicting, measuring and distilling files of any size."""
