"""Other people's checkpoints in, configs and parameters of this package out, and back."""
