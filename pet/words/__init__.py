"""Words for labels, found with a language model: the ranking, and the task file that gets them."""
