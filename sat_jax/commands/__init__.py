"""The three commands, each reads from top to bottom: train, analyze, export."""
