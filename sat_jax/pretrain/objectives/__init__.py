"""What a model learns, one file per objective: model, clean examples and a key in, losses out."""
