"""One question about runs per file: traces, analyses, figures, and what the report says of it."""
