"""A store in the cloud that is a local directory: gs://bucket/x is FAKE_CLOUD/bucket/x.

It keeps a journal of what is put and removed. A file `control.json` beside the buckets tells it, at
any time, to fail (`{"fail": ["put"]}`), to be slow (`{"slow": 1.5}`, seconds for each file), or to
lose the ends of files (`{"cut": "report"}`).
"""

import json
import os
import time
from pathlib import Path

from fsspec.implementations.local import LocalFileSystem


class FakeCloud(LocalFileSystem):
    """Like a store of objects: there are no empty directories, and none has to be made."""

    protocol = "gs"
    cachable = False

    def __init__(self, **options):
        super().__init__(**{**options, "auto_mkdir": True})

    @classmethod
    def _strip_protocol(cls, path):
        if isinstance(path, list):
            return [cls._strip_protocol(each) for each in path]
        path = str(path)
        if path.startswith("gs://"):
            path = f"{os.environ['FAKE_CLOUD']}/{path.removeprefix('gs://')}"
        return path.rstrip("/") or "/"

    def find(self, path, **options):
        meet("find", path)
        return super().find(path, **options)

    def get_file(self, path, target, **options):
        told = meet("get", path)
        super().get_file(path, target, **options)
        cut(told, path, target)

    def cat_file(self, path, **options):
        meet("get", path)
        return super().cat_file(path, **options)

    def put_file(self, source, path, **options):
        size = os.stat(source).st_size
        told = meet("put", path)
        if os.stat(source).st_size != size:
            raise ConnectionError(f"{source} grew while it was uploaded")
        super().put_file(source, path, **options)
        cut(told, path, path)
        note("put", path)

    def rm_file(self, path):
        self.rm([path])

    def rm(self, path, **options):
        for each in path if isinstance(path, list) else [path]:
            meet("rm", each)
            super().rm(each, **options)
            note("rm", each)
            if not os.listdir(os.path.dirname(each)):
                os.removedirs(os.path.dirname(each))


def root():
    return Path(os.environ["FAKE_CLOUD"])


def meet(verb, path):
    """What the store was told about such a call."""
    try:
        told = json.loads((root() / "control.json").read_text())
    except (FileNotFoundError, ValueError):
        return {}
    if verb in told.get("slow_verbs", ["put", "get"]):
        time.sleep(told.get("slow", 0))
    if verb in told.get("fail", ()):
        raise ConnectionError(f"the network is down ({verb})")
    if told.get("fail_at") and told["fail_at"] in str(path):
        raise ConnectionError(f"the network is down at {told['fail_at']}")
    return told


def cut(told, path, copy):
    """Lose the end of a copy, where the store was told to."""
    if told.get("cut") and told["cut"] in str(path):
        os.truncate(copy, os.stat(copy).st_size // 2)


def note(verb, path):
    with open(root() / "journal", "a") as journal:
        journal.write(f"{verb} {Path(path).relative_to(root()).as_posix()}\n")


def journal():
    path = root() / "journal"
    return path.read_text().splitlines() if path.exists() else []


def tell(directory, **control):
    """Tell the store in `directory` how to behave from now on."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "new.json").write_text(json.dumps(control))
    (directory / "new.json").replace(directory / "control.json")
