"""iPET: the schedule of generations and the selection of pseudo-labeled texts, as pure functions."""
