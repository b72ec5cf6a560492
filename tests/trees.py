"""Talker speech in, corpora in the layout of each kind out; helpers."""

import functools
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sat_jax.audio.corpora import CORPORA, list_items, with_phone_map
from sat_jax.audio.phones import PHONES
from sat_jax.audio.talker import perform, script
from sat_jax.audio.utterance import Decoded, Utterance, phone_rows
from sat_jax.config import Corpus

RATE = 16_000
ROOT = Path(__file__).parent.parent
FILES = 70  # more than one part


@functools.cache
def speak(speakers: int, utterances: int, seed: int = 0) -> tuple[Utterance, ...]:
    """The talker's corpus in memory; phones count in PHONES."""
    spoken = []
    for line in script(speakers, utterances, seed):
        take = perform(line)
        phones = phone_rows(take.segments, PHONES)
        spoken.append(Utterance(line.id, line.speaker, line.text, take.audio, phones))
    return tuple(spoken)


def noise(ident: str, seconds: float = 0.3, speaker: str = "ann") -> Utterance:
    """Faint noise with one phone in the middle: enough where speech does not matter."""
    count = round(seconds * RATE)
    rng = np.random.default_rng(sum(ident.encode()))
    audio = rng.integers(-3000, 3000, count).astype(np.int16)
    edges = [0, count // 3, 2 * count // 3, count]
    phones = np.array([[edges[i], edges[i + 1], (0, 5, 0)[i]] for i in range(3)], np.int32)
    return Utterance(ident, speaker, f"text of {ident}", audio, phones)


def textgrid(utterance: Utterance, tier: str = "phones") -> str:
    """Praat's long text form, times to a microsecond."""
    end = len(utterance.audio) / RATE
    rows = utterance.phones
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", "xmin = 0"]
    lines += [f"xmax = {end:.6f}", "tiers? <exists>", "size = 1", "item []:", "    item [1]:"]
    lines += ['        class = "IntervalTier"', f'        name = "{tier}"', "        xmin = 0"]
    lines += [f"        xmax = {end:.6f}", f"        intervals: size = {len(rows)}"]
    for i, (first, last, label) in enumerate(rows, start=1):
        lines += [f"        intervals [{i}]:", f"            xmin = {first / RATE:.6f}"]
        lines += [f"            xmax = {last / RATE:.6f}", f'            text = "{PHONES[label]}"']
    return "\n".join(lines) + "\n"


def ctm(utterances: dict[str, Utterance]) -> str:
    """Lines of a CTM file, times to a microsecond, under the names given."""
    return "".join(
        f"{name} 1 {first / RATE:.6f} {(last - first) / RATE:.6f} {PHONES[label]}\n"
        for name, utterance in utterances.items()
        for first, last, label in utterance.phones
    )


def sphere(audio: np.ndarray, count: int | None = None) -> bytes:
    """NIST SPHERE, little-endian; `count` is what the header promises."""
    fields = [
        "channel_count -i 1",
        f"sample_count -i {len(audio) if count is None else count}",
        f"sample_rate -i {RATE}",
        "sample_n_bytes -i 2",
        "sample_byte_format -s2 01",
        "sample_sig_bits -i 16",
        "sample_coding -s3 pcm",
        "end_head",
    ]
    head = "NIST_1A\n   1024\n" + "\n".join(fields) + "\n"
    return head.encode().ljust(1024, b" ") + audio.astype("<i2").tobytes()


def write_folder(
    root: Path, utterances: list[Utterance], textgrids: bool = True, suffix: str = ".wav"
) -> Path:
    """`root/SPEAKER/ID.wav`, `.txt` and, if wanted, `.TextGrid`."""
    for utterance in utterances:
        folder = root / utterance.speaker
        folder.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / (utterance.id + suffix), utterance.audio, RATE)
        (folder / f"{utterance.id}.txt").write_text(utterance.text + "\n")
        if textgrids:
            (folder / f"{utterance.id}.TextGrid").write_text(textgrid(utterance))
    return root


def write_librispeech(
    root: Path,
    utterances: list[Utterance],
    subset: str = "train-clean-100",
    textgrids: Path | None = None,
) -> Path:
    """`root/SUBSET/SPEAKER/CHAPTER/*.flac` and transcripts; TextGrids under `textgrids`."""
    for number, utterance in enumerate(utterances):
        chapter = Path(subset, utterance.speaker, "7")
        name = f"{utterance.speaker}-7-{number:04d}"
        (root / chapter).mkdir(parents=True, exist_ok=True)
        soundfile.write(root / chapter / f"{name}.flac", utterance.audio, RATE)
        with open(root / chapter / f"{utterance.speaker}-7.trans.txt", "a") as lines:
            lines.write(f"{name} {utterance.text.upper()}\n")
        if textgrids is not None:
            (textgrids / chapter).mkdir(parents=True, exist_ok=True)
            (textgrids / chapter / f"{name}.TextGrid").write_text(textgrid(utterance))
    return root


def write_timit(
    root: Path,
    utterances: list[Utterance],
    is_sphere: bool = True,
    test_speakers: tuple[str, ...] = (),
    upper: bool = True,
) -> Path:
    """`root/TRAIN|TEST/DR1/SPEAKER/SA1.WAV` with .PHN and .TXT; sentences count per speaker."""
    counts: dict[str, int] = {}
    for utterance in utterances:
        counts[utterance.speaker] = counts.get(utterance.speaker, 0) + 1
        subset = "TEST" if utterance.speaker in test_speakers else "TRAIN"
        parts = [subset, "DR1", utterance.speaker.upper(), f"SA{counts[utterance.speaker]}"]
        *folders, stem = parts if upper else [part.lower() for part in parts]
        folder = root.joinpath(*folders)
        folder.mkdir(parents=True, exist_ok=True)
        phn, txt, wav = (s if upper else s.lower() for s in (".PHN", ".TXT", ".WAV"))
        if is_sphere:
            (folder / (stem + wav)).write_bytes(sphere(utterance.audio))
        else:
            soundfile.write(folder / (stem + wav), utterance.audio, RATE, format="WAV")
        lines = [f"{a} {b} {PHONES[p].replace('sil', 'h#')}\n" for a, b, p in utterance.phones]
        (folder / (stem + phn)).write_text("".join(lines))
        (folder / (stem + txt)).write_text(f"0 {len(utterance.audio)} {utterance.text}\n")
    return root


def write_vctk(root: Path, utterances: list[Utterance], version: str = "0.92") -> Path:
    """Two microphones as flac, or version 0.80 as wav; sentences count per speaker."""
    counts: dict[str, int] = {}
    for utterance in utterances:
        speaker = utterance.speaker.replace("talker", "p")
        counts[speaker] = counts.get(speaker, 0) + 1
        ident = f"{speaker}_{counts[speaker]:03d}"
        old = version == "0.80"
        folder = root / ("wav48" if old else "wav48_silence_trimmed") / speaker
        for path in (folder, root / "txt" / speaker):
            path.mkdir(parents=True, exist_ok=True)
        if old:
            soundfile.write(folder / f"{ident}.wav", utterance.audio, RATE)
        else:
            soundfile.write(folder / f"{ident}_mic1.flac", utterance.audio, RATE)
            soundfile.write(folder / f"{ident}_mic2.flac", utterance.audio // 2, RATE)
        (root / "txt" / speaker / f"{ident}.txt").write_text(utterance.text + "\n")
    return root


def write_common_voice(
    root: Path, tables: dict[str, list[Utterance]], suffix: str = ".mp3"
) -> Path:
    """`root/clips/ID.mp3` and a table for each name: columns as in version 17."""
    (root / "clips").mkdir(parents=True, exist_ok=True)
    for name, utterances in tables.items():
        lines = ["client_id\tpath\tsentence_id\tsentence\tup_votes\tlocale"]
        for utterance in utterances:
            soundfile.write(root / "clips" / (utterance.id + suffix), utterance.audio, RATE)
            row = (utterance.speaker, f"{utterance.id}.mp3", "f00", utterance.text, "2", "en")
            lines.append("\t".join(row))
        (root / f"{name}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root


def decode(corpus: Corpus) -> list[Decoded]:
    """Every item of a corpus, read with the phone map that knows its labels."""
    items = list_items(corpus)
    known = with_phone_map(items, corpus)
    return [CORPORA[corpus.kind].read(item, known) for item in items]


def quiet(line: str) -> None:
    """Takes the place of print."""
    del line


def folder(tmp_path: Path, count: int = FILES, **settings) -> Corpus:
    """A corpus of tiny recordings."""
    if not (tmp_path / "wav").exists():
        spoken = [noise(f"{i:03d}", 0.03, ("ann", "bob")[i % 2]) for i in range(count)]
        write_folder(tmp_path / "wav", spoken, textgrids=False)
    settings = {"kind": "folder", "data_dir": tmp_path / "data", "workers": 1} | settings
    return Corpus(path=tmp_path / "wav", **settings)


def count_reads(monkeypatch: pytest.MonkeyPatch, kind: str) -> list[str]:
    """A list that grows by the id of every item that is decoded in this process."""
    seen, reader = [], CORPORA[kind]

    def read(item, corpus):
        seen.append(item.id)
        return reader.read(item, corpus)

    monkeypatch.setitem(CORPORA, kind, reader._replace(read=read))
    return seen


def run_child(script: str, *arguments: object) -> subprocess.Popen:
    """A Python program in the root of the project, its output kept."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
