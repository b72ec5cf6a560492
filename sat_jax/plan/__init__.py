"""A config and a topology in, what a training step needs and takes there out; nothing is run."""
