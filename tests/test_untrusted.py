"""A run may be somebody else's: what lies in it is read as data and obeyed in nothing."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from sat_jax.config import Analysis, Config, Corpus
from sat_jax.errors import InputError
from sat_jax.study.corpus import chosen_corpus
from sat_jax.study.phones import kept_phones
from sat_jax.study.sections import kept_sections


@pytest.mark.parametrize("place", [1, 2, 3])
@pytest.mark.parametrize("name", ["../secret.txt", "/etc/hostname", "figures/../../secret.txt"])
def test_a_section_shows_nothing_from_outside_of_the_run(tmp_path, name, place):
    (tmp_path / "secret.txt").write_text("secret")
    out = tmp_path / "run"
    path = out / "analysis" / "sections" / "heads.json"
    path.parent.mkdir(parents=True)
    rows = [["picture", "alt"], ["clip"], ["table"], ["file"]]
    pictures, clips, tables, files = ([] for _ in range(4))
    if place == 1:
        pictures = [[name, *rows[0]]]
    elif place == 2:
        tables = [["rows", name]]
    else:
        files = [["label", name]]
    path.write_text(json.dumps([["heading", "text", pictures, clips, tables, files]]))
    with pytest.raises(InputError, match=r"heads\.json: .*lies outside of .*make the heads study"):
        kept_sections(out, "heads")


def test_a_link_that_leads_outside_is_not_followed(tmp_path):
    (tmp_path / "secret.txt").write_text("secret")
    path = tmp_path / "run" / "analysis" / "sections" / "heads.json"
    path.parent.mkdir(parents=True)
    (tmp_path / "run" / "note.txt").symlink_to(tmp_path / "secret.txt")
    path.write_text(json.dumps([["heading", "text", [], [], [], [["label", "note.txt"]]]]))
    with pytest.raises(InputError, match="lies outside"):
        kept_sections(tmp_path / "run", "heads")


class Trap:
    """Unpickling it leaves a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_pickle_in_phone_maps_is_one_line_and_runs_nothing(tmp_path):
    (tmp_path / "analysis").mkdir()
    trap = np.array([Trap(tmp_path / "sprung")], dtype=object)
    np.savez(tmp_path / "analysis" / "phone_maps.npz", relation=trap, phones=np.array(["a"]))
    with pytest.raises(InputError, match=r"phone_maps\.npz: is not what analyze\.py writes") as e:
        kept_phones(SimpleNamespace(out=tmp_path))
    assert "\n" not in str(e.value)
    assert not (tmp_path / "sprung").exists()


def test_a_corpus_is_prepared_only_where_the_user_says(tmp_path):
    run, place = tmp_path / "run", tmp_path / "elsewhere"
    config = Config(corpus=Corpus(data_dir=place))
    with pytest.raises(InputError, match="give --corpus.data-dir .*elsewhere"):
        chosen_corpus(run, config, Analysis())
    given = Analysis(corpus=Corpus(kind="", data_dir=place))
    assert chosen_corpus(run, config, given) == (config.corpus, run)
    assert chosen_corpus(run, Config(), Analysis()) == (Config().corpus, run)
