"""Features and a model in, a trained state out."""
