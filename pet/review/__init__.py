"""Look and correct: which texts of a finished run to label next, and what people said about them."""
