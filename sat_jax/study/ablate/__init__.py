"""What a model loses with its heads: a sweep over ablations, probes of each, curves of all."""
