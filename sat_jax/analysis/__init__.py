"""Attention maps and labels in, numbers out: arrays only, no model, no files."""
