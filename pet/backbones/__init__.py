"""How each kind of model scores words at the mask."""
