"""A corpus in, a prepared directory out, once; and its splits as random-access sources.

A prepared directory holds a TFDS dataset (array_record), `index.npz` (lengths, speakers, splits:
read without decoding audio) and `corpus.json`. It appears whole, by one rename, or not at all.
"""

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from sat_jax.address import address_of
from sat_jax.audio.aligned import find_ctm
from sat_jax.audio.corpora import CORPORA, list_items, with_phone_map
from sat_jax.audio.disk import WRITE_ERRORS, alone_in, unwritable
from sat_jax.audio.parts import CHUNK, Summary, merge, part_path, write_parts
from sat_jax.audio.phone_labels import COLUMNS, TABLES, Phone, ordered
from sat_jax.audio.phones import MANNER, PHONES
from sat_jax.audio.prepared import INDEX, is_ready, read_content, write_content
from sat_jax.audio.progress import progress_bar
from sat_jax.audio.splits import assign, check_possible
from sat_jax.audio.tree import unread_audio
from sat_jax.config import Corpus
from sat_jax.errors import InputError
from sat_jax.grid import SAMPLE_RATE

# Raised when the talker, a reader or the layout on disk changes what a corpus contains.
FORMAT = 4


def prepare(corpus: Corpus, say: Callable[[str], None] = print) -> Path:
    """The prepared directory of a corpus, made on the first call and found on the next.

    Killed half-way, it goes on where it was. Two processes may call it at once. Raises `InputError`
    for bad input (the first bad utterance, unless `corpus.skip_bad`) and for a full or unwritable
    `corpus.data_dir`. Of an address, what is whole there is fetched, and what is not is uploaded.
    """
    found = _fetch(corpus, say)
    try:
        directory = _prepare(corpus, say)
    except OSError as error:
        if error.errno not in WRITE_ERRORS:
            raise
        raise unwritable(corpus.directory, error) from error
    if address_of(corpus.data_dir):
        from sat_jax.cloud import corpus as copies

        copies.send(_address(corpus), directory, found == "broken", say)
    return directory


def fetch(corpus: Corpus, say: Callable[[str], None] = print) -> bool:
    """Whether the corpus is prepared here, once what is whole at its address was fetched."""
    return _fetch(corpus, say) == "here"


def _fetch(corpus: Corpus, say: Callable[[str], None]) -> str:
    directory = directory_of(corpus)
    if not address_of(corpus.data_dir) or is_ready(directory):
        return "here" if is_ready(directory) else "missing"
    from sat_jax.cloud import corpus as copies

    return copies.fetch(_address(corpus), directory, say)


def receive(corpus: Corpus) -> Path:
    """The directory of a corpus that process 0 has prepared, on every process.

    Each host fetches its own copy of one at an address. Raises `InputError` where it is not whole.
    """
    if address_of(corpus.data_dir) and not fetch(corpus, lambda _: None):
        raise InputError(f"{_address(corpus)}: is not whole, so that this host has no copy of it")
    return directory_of(corpus)


def _address(corpus: Corpus) -> str:
    return f"{address_of(corpus.data_dir)}/{directory_of(corpus).name}"


def directory_of(corpus: Corpus) -> Path:
    """Where a corpus is prepared: its kind and a digest of every field that changes its content."""
    fields = asdict(corpus)
    for name in ("data_dir", "workers"):
        del fields[name]
    if corpus.kind != "talker":
        del fields["talker"]
    for name in ("path", "alignments", "speakers"):
        fields[name] = str(fields[name].resolve()) if fields[name] is not None else None
    for name in ("speakers", "phone_map"):
        file = Path(getattr(corpus, name) or "")
        if file.is_file():
            fields[f"{name}_content"] = hashlib.sha256(file.read_bytes()).hexdigest()
    text = json.dumps([FORMAT, fields], sort_keys=True)
    return corpus.directory / f"{corpus.kind}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def _prepare(corpus: Corpus, say: Callable[[str], None]) -> Path:
    if corpus.kind in CORPORA and is_ready(directory := directory_of(corpus)):
        say(_one_line(directory))
        return directory
    items = list_items(corpus)
    if corpus.path is not None and (unread := unread_audio(corpus.path)):
        say(unread)
    directory = directory_of(corpus)
    check_possible([i.speaker for i in items], [i.subset for i in items], corpus)
    corpus.directory.mkdir(parents=True, exist_ok=True)
    with alone_in(corpus.directory / f".{directory.name}.lock", say) as alone:
        if not is_ready(directory):
            try:
                _make(items, corpus, directory, alone, say)
            except FileNotFoundError:
                # Where files cannot be locked, another process may have finished first and
                # deleted the parts that both were reading.
                if not is_ready(directory):
                    raise
    say(_one_line(directory))
    return directory


def _make(
    items: list, corpus: Corpus, directory: Path, alone: bool, say: Callable[[str], None]
) -> None:
    corpus = with_phone_map(items, corpus)
    parts = directory.with_name(f".{directory.name}.parts-{_listing_digest(items)}")
    if alone:
        for old in directory.parent.glob(f".{directory.name}.*-*"):
            if old != parts:
                shutil.rmtree(old)
    parts.mkdir(exist_ok=True)
    with progress_bar("reading", directory.name, len(items)) as report:
        whole = merge(write_parts(items, corpus, parts, report))
    _tell(whole, corpus, say)
    if not whole.ids:
        raise InputError(
            f"corpus.skip-bad: all {len(items)} utterances of {corpus.path} are bad, "
            f"first: {_first_example(whole)}"
        )
    content = _content(whole, corpus)
    splits = assign(whole.ids, whole.speakers, whole.subsets, corpus)
    position = {name: i for i, name in enumerate(content["speakers"])}
    temporary = Path(tempfile.mkdtemp(prefix=f".{directory.name}.new-", dir=directory.parent))
    try:
        # Imported late: it takes seconds, and a prepared corpus that is only listed needs none.
        from sat_jax.audio.container import write_dataset

        files = [part_path(parts, i) for i in range(-(-len(items) // CHUNK))]
        with progress_bar("writing", directory.name, len(whole.ids)) as report:
            write_dataset(temporary, files, whole.lengths, content, report)
        np.savez(
            temporary / INDEX,
            lengths=np.array(whole.lengths, np.int32),
            speakers=np.array([position[s] for s in whole.speakers], np.int32),
            splits=splits,
        )
        write_content(temporary, content | {"ids": whole.ids, "config": asdict(corpus)})
        temporary.chmod(0o755)
        os.rename(temporary, directory)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST) or not is_ready(directory):
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    shutil.rmtree(parts)


def _content(whole: Summary, corpus: Corpus) -> dict[str, Any]:
    phones = _phones(whole, corpus)
    return {
        "sample_rate": SAMPLE_RATE,
        "phone_names": [phone.name for phone in phones],
        "phone_manners": [phone.manner for phone in phones],
        "phone_source": _phone_source(corpus) if whole.aligned else "",
        "speakers": sorted(set(whole.speakers)),
        "fingerprint": hashlib.sha256("\n".join(whole.digests).encode()).hexdigest(),
        "notes": whole.notes,
        "skipped": whole.skipped,
        "samples": sum(whole.lengths),
    }


def _phones(whole: Summary, corpus: Corpus) -> list[Phone]:
    """The phones of an aligned corpus: all 39 classes, or those that occur in it."""
    if not whole.aligned:
        return []
    if corpus.phone_set == "timit39" and corpus.phone_map in (*TABLES, "auto"):
        return [Phone(name, MANNER[name]) for name in PHONES]
    return ordered(whole.labels, corpus)


def _phone_source(corpus: Corpus) -> str:
    reader = CORPORA[corpus.kind]
    if reader.segments is None:
        return reader.phone_source
    tier = f" tier {corpus.tier}" if corpus.tier else ""
    by = f"the map {corpus.phone_map}" if corpus.phone_map in TABLES else corpus.phone_map
    kept = ", labels as they are" if by == "the map none" else f", labels by {by}"
    return ("CTM" if find_ctm(corpus) else reader.phone_source + tier) + kept


def _tell(whole: Summary, corpus: Corpus, say: Callable[[str], None]) -> None:
    for note, entry in whole.notes.items():
        told = f"{entry['count']} recordings were {note}"
        if entry["count"] == 1:
            told = f"1 recording was {note.replace(' were ', ' was ')}"
        say(f"{told} (first: {entry['first']})")
    for reason, entry in whole.skipped.items():
        say(f"skipped {entry['count']}: {reason} (first: {entry['examples'][0]})")
    unknown = [phone.name for phone in _phones(whole, corpus) if not phone.manner]
    if unknown:
        named = ", ".join(f"{name!r} ({whole.labels[name]})" for name in unknown[:12])
        say(
            f"{len(unknown)} labels have no known manner and stand in no group: {named}"
            f"{', ...' if len(unknown) > 12 else ''}; --corpus.phone-map FILE.csv "
            f"({','.join(COLUMNS)}) gives them one"
        )


def _first_example(whole: Summary) -> str:
    return next(entry["examples"][0] for entry in whole.skipped.values())


def _listing_digest(items: list) -> str:
    """Changes with every item and with the size and time of every file that an item names."""
    digest = hashlib.sha256(f"{FORMAT} {CHUNK}".encode())
    for item in items:
        digest.update(repr(item).encode("utf-8", "surrogateescape"))
        for path in item:
            if isinstance(path, Path) and path.exists():
                state = path.stat()
                digest.update(f"{state.st_size} {state.st_mtime_ns}".encode())
    return digest.hexdigest()[:12]


def _one_line(directory: Path) -> str:
    content = read_content(directory)
    hours = content["samples"] / SAMPLE_RATE / 3600
    source = f" ({content['phone_source']})" if content["phone_source"] else ""
    return (
        f"corpus {directory}: {len(content['ids'])} utterances, {hours:.2f} h, "
        f"{len(content['speakers'])} speakers, {len(content['phone_names'])} phone names{source}"
    )
