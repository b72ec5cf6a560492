"""The root of TIMIT in, one item per sentence of a speaker out."""

from pathlib import Path

from sat_jax.audio.item import Item
from sat_jax.audio.tree import by_name, empty_tree, find_root, unique, walk
from sat_jax.config import Corpus


def list_timit(corpus: Corpus) -> list[Item]:
    """Items of `TRAIN|TEST/DR?/SPEAKER/SENTENCE.WAV` in any case, with .PHN and .TXT beside them.

    Sentences are spoken by many, so an id is `SPEAKER_SENTENCE`.
    """
    root = find_root(corpus)
    found = []
    for file in walk(root, (".wav",)):
        parents = [part.upper() for part in (root.name, *file.relative_to(root).parts[:-1])]
        subset = next((part for part in parents if part in ("TRAIN", "TEST")), None)
        if subset is not None and len(parents) >= 3:
            found.append((file, subset.lower(), parents[-1]))
    if not found:
        raise empty_tree(root, "TRAIN|TEST/DR?/SPEAKER/SENTENCE.WAV")
    beside = by_name(walk(root, (".phn", ".txt")))
    stems = {file: file.parent / file.name.split(".")[0] for file, _, _ in found}
    phones = {file: beside.get(f"{stem}.phn") for file, stem in stems.items()}
    aligned = any(phones.values())
    return unique(
        Item(
            id=f"{speaker}_{stems[file].name.upper()}",
            speaker=speaker,
            subset=subset,
            audio=file,
            alignment=(phones[file] or Path(f"{stems[file]}.PHN")) if aligned else None,
            text="",
            text_file=beside.get(f"{stems[file]}.txt"),
        )
        for file, subset, speaker in found
    )
