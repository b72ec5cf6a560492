"""Phone boundaries from attention, hidden states and spectral features: searched, scored, drawn."""
