"""Sound in, one record per utterance out: readers, alignments, the talker, prepared datasets."""
