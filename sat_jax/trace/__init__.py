"""A model and batches in; attention maps and hidden states, or what was reduced from them, out."""
