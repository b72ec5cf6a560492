"""Features in, predictions and (through `sow`) attention maps and hidden states out."""
