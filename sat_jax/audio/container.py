"""Finished parts in, one TFDS dataset of array_record shards out; and its random-access source.

The only file that imports tensorflow_datasets; TensorFlow itself is never imported. The class path
of `Pcm16` is stored in every dataset: do not move it.
"""

import contextlib
import errno
import io
import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from array_record.python import array_record_module
from tensorflow_datasets.core import file_adapters
from tensorflow_datasets.proto import tf_example_pb2

from sat_jax.audio.parts import read_part
from sat_jax.audio.utterance import Utterance

# Without TensorFlow, TFDS can only order what fits its memory buffer of 1 GB per split. So the
# corpus is a row of TFDS splits of at most this many bytes of audio, read together as "all".
BLOCK_BYTES = 256 << 20


class Pcm16(tfds.features.Tensor):
    """Mono int16 audio, stored as plain bytes (`tfds.features.Audio` needs TensorFlow)."""

    def __init__(
        self, *, shape=(None,), dtype=np.int16, encoding="bytes", doc=None, **options: Any
    ):
        super().__init__(shape=shape, dtype=dtype, encoding=encoding, doc=doc, **options)


class PlainShards(file_adapters.ArrayRecordFileAdapter):
    """Shards without compression: speech hardly shrinks, and unpacking it halves the loader."""

    @classmethod
    def write_examples(cls, path: Any, iterator: Iterator) -> None:
        """Write one shard; any array_record reader opens it."""
        writer = array_record_module.ArrayRecordWriter(os.fspath(path), "group_size:1,uncompressed")
        for _, example in iterator:
            writer.write(example)
        writer.close()


class SatSpeech(tfds.core.GeneratorBasedBuilder):
    """Utterances in the order of `lengths`, out of the part files `parts`."""

    VERSION = tfds.core.Version("1.0.0")

    def __init__(
        self,
        *,
        parts: list[Path],
        lengths: list[int],
        metadata: dict[str, Any],
        report: Callable[[int, int], None],
        **options: Any,
    ):
        self._parts = parts
        self._lengths = lengths
        self._metadata = metadata
        self._report = report
        super().__init__(**options)

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Speech, its speakers and its phones.",
            features=tfds.features.FeaturesDict(
                {
                    "id": tfds.features.Text(),
                    "speaker": tfds.features.Text(),
                    "text": tfds.features.Text(),
                    "audio": Pcm16(),
                    "phones": tfds.features.Tensor(
                        shape=(None, 3), dtype=np.int32, encoding="bytes"
                    ),
                }
            ),
            metadata=tfds.core.MetadataDict(self._metadata),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator]:
        del dl_manager
        records = itertools.chain.from_iterable(
            read_part(path, self._metadata["phone_names"]) for path in self._parts
        )
        return {
            f"block{number:05d}": self._generate_examples(records, count)
            for number, count in enumerate(block_sizes(self._lengths, BLOCK_BYTES // 2))
        }

    def _generate_examples(self, records: Iterator, count: int) -> Iterator:
        for number, record in enumerate(itertools.islice(records, count)):
            self._report(1, len(record["audio"]))
            yield number, record


def block_sizes(lengths: list[int], most: int) -> list[int]:
    """Utterances per block: in order, each block as many as make up to `most` samples."""
    sizes: list[int] = []
    room = 0
    for length in lengths:
        if not sizes or length > room:
            sizes.append(0)
            room = most
        sizes[-1] += 1
        room -= length
    return sizes


def write_dataset(
    directory: Path,
    parts: list[Path],
    lengths: list[int],
    metadata: dict[str, Any],
    report: Callable[[int, int], None],
) -> None:
    """Write the TFDS dataset of `parts` into `directory`, which has to be new.

    `metadata["phone_names"]` are what the phones of the dataset count in.
    """
    tfds.disable_progress_bar()
    builder = SatSpeech(
        parts=parts,
        lengths=lengths,
        metadata=metadata,
        report=report,
        data_dir=directory,
        file_format="array_record",
    )
    # TFDS announces the temporary directory, which nobody will see.
    with contextlib.redirect_stdout(io.StringIO()), _os_errors(directory), _plain_shards():
        builder.download_and_prepare()
    shutil.rmtree(directory / "downloads")


@contextlib.contextmanager
def _plain_shards() -> Iterator[None]:
    """TFDS has no option for how shards are packed, only this table of writers."""
    table, key = file_adapters.ADAPTER_FOR_FORMAT, file_adapters.FileFormat.ARRAY_RECORD
    before = table[key]
    table[key] = PlainShards
    try:
        yield
    finally:
        table[key] = before


@contextlib.contextmanager
def _os_errors(directory: Path) -> Iterator[None]:
    """The shard writer tells the operating system's errors only by their text."""
    try:
        yield
    except RuntimeError as error:
        for code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO):
            if os.strerror(code) in str(error):
                raise OSError(code, os.strerror(code), os.fspath(directory)) from error
        raise


def open_dataset(directory: Path) -> Any:
    """Random-access source of serialized examples, over all that `write_dataset` wrote."""
    builder = tfds.builder_from_directory(directory / "sat_speech" / str(SatSpeech.VERSION))
    raw = tfds.decode.DeserializeMethod.RAW_BYTES
    return builder.as_data_source(split="all", deserialize_method=raw)


def decode_example(record: bytes) -> Utterance:
    """An utterance out of a serialized example; twice as fast as TFDS's feature by feature."""
    feature = tf_example_pb2.Example.FromString(record).features.feature
    fields = {name: feature[name].bytes_list.value[0] for name in Utterance._fields}
    return Utterance(
        id=fields["id"].decode(),
        speaker=fields["speaker"].decode(),
        text=fields["text"].decode(),
        audio=np.frombuffer(fields["audio"], np.int16),
        phones=np.frombuffer(fields["phones"], np.int32).reshape(-1, 3),
    )
