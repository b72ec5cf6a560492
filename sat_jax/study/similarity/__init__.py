"""How alike the layers and heads of models are, on the same speech."""
