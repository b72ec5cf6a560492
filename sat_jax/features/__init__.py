"""From waveforms to what a model reads: spectra, normalisation, batches."""
