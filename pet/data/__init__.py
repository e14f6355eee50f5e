"""Reading tables of texts, drawing few-shot sets from them, and checking them."""
