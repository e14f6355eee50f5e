"""Read tables of texts, draw few-shot samples from them, and check them."""
