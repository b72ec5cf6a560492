"""The study that makes explorer.html: maps of a few utterances, all that is known of heads."""
