"""Tables, pages, and model cards."""
