"""Listed items in, finished part files out: decoding in a pool, resumable after a hard kill.

A part holds the utterances of one chunk of items, one after the other, so that a worker holds one
utterance at a time. A part counts once its summary lies beside it; the summary is renamed into
place last.
"""

import hashlib
import json
import os
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from sat_jax.audio.corpora import CORPORA
from sat_jax.audio.faults import BadItem
from sat_jax.audio.utterance import Decoded, phone_rows
from sat_jax.config import Corpus
from sat_jax.errors import InputError

CHUNK = 64
"""Items per part."""

_EXAMPLES = 5  # messages that are kept per kind of fault


@dataclass
class Summary:
    """What is known about a part, or a whole corpus, without reading its audio."""

    ids: list[str] = field(default_factory=list)
    speakers: list[str] = field(default_factory=list)
    subsets: list[str] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)
    """Intervals of each phone."""
    aligned: int = 0
    notes: dict[str, dict[str, Any]] = field(default_factory=dict)
    skipped: dict[str, dict[str, Any]] = field(default_factory=dict)
    size: int = 0
    """Bytes of the part file."""


def write_parts(
    items: list, corpus: Corpus, directory: Path, report: Callable[[int, int], None]
) -> list[Summary]:
    """Decode every item that no finished part holds; one summary per part, in order.

    `report(items, samples)` is called as each part is finished or found. Raises the first fault,
    unless `corpus.skip_bad`; finished parts stay for the next attempt.
    """
    chunks = [items[i : i + CHUNK] for i in range(0, len(items), CHUNK)]
    summaries: dict[int, Summary] = {}
    for i, chunk in enumerate(chunks):
        if (found := finished(directory, i)) is not None:
            summaries[i] = found
            report(len(chunk), sum(summaries[i].lengths))
    missing = [i for i in range(len(chunks)) if i not in summaries]
    workers = min(corpus.workers or os.cpu_count() or 1, len(missing))
    if workers <= 1:
        for i in missing:
            summaries[i] = write_part(chunks[i], corpus, directory, i)
            report(len(chunks[i]), sum(summaries[i].lengths))
    else:
        _write_in_pool(chunks, missing, corpus, directory, workers, summaries, report)
    return [summaries[i] for i in range(len(chunks))]


def _write_in_pool(
    chunks: list[list],
    missing: list[int],
    corpus: Corpus,
    directory: Path,
    workers: int,
    summaries: dict[int, Summary],
    report: Callable[[int, int], None],
) -> None:
    # Spawned, because a fork of a process that runs jax can deadlock.
    with ProcessPoolExecutor(workers, get_context("spawn"), _end_with_parent) as pool:
        running = {}
        queue = iter(missing)
        try:
            while True:
                # A short queue: pickled items of a large corpus are not all in flight at once.
                while len(running) < 2 * workers and (i := next(queue, None)) is not None:
                    running[pool.submit(write_part, chunks[i], corpus, directory, i)] = i
                if not running:
                    return
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in sorted(done, key=running.get):
                    i = running.pop(future)
                    summaries[i] = future.result()
                    report(len(chunks[i]), sum(summaries[i].lengths))
        except BrokenProcessPool as error:
            raise InputError(
                "a process that reads audio died (out of memory, or a script without "
                'if __name__ == "__main__"): give --corpus.workers 1; what is finished is kept'
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _end_with_parent() -> None:
    """A worker whose parent was killed would wait for work for ever."""

    def watch() -> None:
        parent_process().join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def write_part(items: list, corpus: Corpus, directory: Path, number: int) -> Summary:
    """Decode a chunk of items into one part file and its summary, both whole or absent.

    Raises the first `BadItem` unless `corpus.skip_bad`.
    """
    temporary = directory / f"{number:05d}.{os.getpid()}.tmp"
    try:
        with open(temporary, "wb") as out:
            summary = _write_items(out, items, corpus)
            summary.size = out.tell()
        os.replace(temporary, part_path(directory, number))
        temporary.write_text(json.dumps(asdict(summary)), encoding="utf-8")
        os.replace(temporary, summary_path(directory, number))
    finally:
        temporary.unlink(missing_ok=True)
    return summary


def _write_items(out: BinaryIO, items: list, corpus: Corpus) -> Summary:
    read = CORPORA[corpus.kind].read
    summary, labels = Summary(), Counter()
    for item in items:
        try:
            decoded = read(item, corpus)
        except BadItem as fault:
            if not corpus.skip_bad:
                message = f"{fault} (or leave such utterances out: --corpus.skip-bad)"
                raise InputError(message) from fault
            entry = summary.skipped.setdefault(fault.reason, {"count": 0, "examples": []})
            entry["count"] += 1
            if len(entry["examples"]) < _EXAMPLES:
                entry["examples"].append(str(fault))
            continue
        digest = _append(out, decoded)
        summary.ids.append(decoded.id)
        summary.speakers.append(decoded.speaker)
        summary.subsets.append(decoded.subset)
        summary.lengths.append(len(decoded.audio))
        summary.digests.append(digest)
        summary.aligned += decoded.segments is not None
        labels.update(segment.label for segment in decoded.segments or ())
        for note in decoded.notes:
            _count_note(summary, note, 1, decoded.id)
    summary.labels = dict(sorted(labels.items()))
    return summary


def _append(out: BinaryIO, decoded: Decoded) -> str:
    segments = decoded.segments or []
    names = sorted({segment.label for segment in segments})
    audio = np.ascontiguousarray(decoded.audio, "<i2").tobytes()
    phones = phone_rows(segments, names).astype("<i4").tobytes()
    head = json.dumps(
        {
            "id": decoded.id,
            "speaker": decoded.speaker,
            "text": decoded.text,
            "labels": names,
            "audio": len(audio),
            "phones": len(phones),
        }
    ).encode()
    out.write(struct.pack("<I", len(head)) + head + audio + phones)
    identity = json.dumps([decoded.id, names]).encode()
    digest = hashlib.sha256(struct.pack("<I", len(identity)) + identity + audio + phones)
    return digest.hexdigest()


def read_part(path: Path, names: list[str]) -> Iterator[dict[str, Any]]:
    """The utterances of a part, with labels as indices into the corpus's phone `names`."""
    index = {name: i for i, name in enumerate(names)}
    with open(path, "rb") as part:
        while size := part.read(4):
            head = json.loads(part.read(struct.unpack("<I", size)[0]))
            audio = np.frombuffer(part.read(head["audio"]), "<i2").astype(np.int16, copy=False)
            phones = np.frombuffer(part.read(head["phones"]), "<i4").reshape(-1, 3)
            phones = phones.astype(np.int32)
            lookup = np.array([index[label] for label in head["labels"]], np.int32)
            if len(phones):
                phones[:, 2] = lookup[phones[:, 2]]
            yield {
                "id": head["id"],
                "speaker": head["speaker"],
                "text": head["text"],
                "audio": audio,
                "phones": phones,
            }


def merge(summaries: list[Summary]) -> Summary:
    """Summary of the whole corpus."""
    whole = Summary()
    labels = Counter()
    for part in summaries:
        for name in ("ids", "speakers", "subsets", "lengths", "digests"):
            getattr(whole, name).extend(getattr(part, name))
        whole.aligned += part.aligned
        labels.update(part.labels)
        for note, entry in part.notes.items():
            _count_note(whole, note, entry["count"], entry["first"])
        for reason, entry in part.skipped.items():
            total = whole.skipped.setdefault(reason, {"count": 0, "examples": []})
            total["count"] += entry["count"]
            room = _EXAMPLES - len(total["examples"])
            total["examples"].extend(entry["examples"][:room])
    whole.notes = dict(sorted(whole.notes.items()))
    whole.labels = dict(sorted(labels.items()))
    return whole


def _count_note(summary: Summary, note: str, count: int, first: str) -> None:
    entry = summary.notes.setdefault(note, {"count": 0, "first": first})
    entry["count"] += count


def part_path(directory: Path, number: int) -> Path:
    """Audio and phones of part `number`."""
    return directory / f"{number:05d}.part"


def summary_path(directory: Path, number: int) -> Path:
    """The summary whose presence says that part `number` is finished."""
    return directory / f"{number:05d}.json"


def finished(directory: Path, number: int) -> Summary | None:
    """Summary of a part, or None where it is not there, or was cut short by a power failure."""
    try:
        summary = Summary(**json.loads(summary_path(directory, number).read_text(encoding="utf-8")))
        whole = part_path(directory, number).stat().st_size == summary.size
    except (FileNotFoundError, ValueError, TypeError):
        return None
    return summary if whole else None
