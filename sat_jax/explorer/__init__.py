"""An explorer of attention: maps, sounds and numbers in, one HTML file that works offline out."""
