"""The root of VCTK in, one item per sentence of a speaker out."""

import re
from pathlib import Path

from sat_jax.audio.aligned import align
from sat_jax.audio.item import Item
from sat_jax.audio.tree import by_name, empty_tree, find_root, unique, walk
from sat_jax.audio.wav import SUFFIXES
from sat_jax.config import Corpus

_FOLDERS = ("wav48_silence_trimmed", "wav48")  # version 0.92, version 0.80
_MICROPHONE = re.compile(r"_mic[12]$")


def list_vctk(corpus: Corpus) -> list[Item]:
    """Items of `wav48_silence_trimmed|wav48/SPEAKER/SPEAKER_NUMBER[_mic1].*`, texts under `txt`.

    The first microphone is taken, and the second one where the first is missing. TextGrids are
    looked for with and without the folder and the microphone.
    """
    root = find_root(corpus)
    folder = next((name for name in _FOLDERS if (root / name).is_dir()), None)
    audio = walk(root / folder, SUFFIXES) if folder else []
    if not audio:
        raise empty_tree(root, "wav48_silence_trimmed/SPEAKER/*.flac or wav48/SPEAKER/*.wav")
    texts = by_name(walk(root / "txt", (".txt",))) if (root / "txt").is_dir() else {}
    chosen, items = set(), []
    for file in audio:  # sorted, so that mic1 comes before mic2
        ident = _MICROPHONE.sub("", file.stem)
        if file.stem.endswith("_mic2") and ident in chosen:
            continue
        chosen.add(ident)
        speaker = file.parent.name
        text = texts.get(f"{root / 'txt' / speaker / ident}.txt")
        items.append(Item(ident, speaker, "", file, None, "", text))
    return unique(align(corpus, root, items, _elsewhere))


def _elsewhere(relative: Path) -> list[Path]:
    bare = relative.with_stem(_MICROPHONE.sub("", relative.stem))
    return [bare, Path(*relative.parts[1:]), Path(*bare.parts[1:])]
