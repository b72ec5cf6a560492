"""The root of LibriSpeech or of one of its subsets in, one item per utterance out.

Which split an utterance belongs to, `splits.assign` says.
"""

import re
from pathlib import Path

from sat_jax.audio.aligned import align
from sat_jax.audio.item import Item, read_text
from sat_jax.audio.tree import empty_tree, find_root, unique, walk
from sat_jax.config import Corpus

_SUBSET = re.compile(r"(train|dev|test)(-.+)?")


def list_librispeech(corpus: Corpus) -> list[Item]:
    """Items of `[SUBSET/]SPEAKER/CHAPTER/SPEAKER-CHAPTER-NUMBER.flac` with `.trans.txt` files.

    MFA TextGrids are looked for beside the audio, or under `corpus.alignments` with or without the
    folder of the subset; a CTM file names the utterances. dev folders are valid.
    """
    root = find_root(corpus)
    audio = [f for f in walk(root, (".flac",)) if re.fullmatch(r"[^-]+-[^-]+-[^-]+", f.stem)]
    if not audio:
        raise empty_tree(root, "*/SPEAKER/CHAPTER/SPEAKER-CHAPTER-NUMBER.flac")
    texts: dict[str, str] = {}
    for file in walk(root, (".trans.txt",)):
        for line in read_text(file).splitlines():
            name, _, text = line.partition(" ")
            texts[name] = text.strip()
    items = []
    for file in audio:
        # The root itself may be a subset.
        parents = (root.name, *file.relative_to(root).parts[:-1])
        match = next(filter(None, map(_SUBSET.fullmatch, parents)), None)
        subset = {"train": "train", "dev": "valid", "test": "test"}[match[1]] if match else ""
        speaker, text = file.stem.split("-")[0], texts.get(file.stem, "")
        items.append(Item(file.stem, speaker, subset, file, None, text, None))
    return unique(align(corpus, root, items, lambda relative: [Path(*relative.parts[1:])]))
