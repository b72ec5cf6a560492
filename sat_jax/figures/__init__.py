"""Figures and the report: records of numpy arrays in, PNG, PDF and one HTML page out."""
