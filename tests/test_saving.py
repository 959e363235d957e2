"""Saving: all files or none, and nothing of another model is lost."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hf_attn import InputError
from hf_attn.saving import check_output_folder, make_output_folder, staged, staged_file


def test_staged_files_replace_old_ones_and_leave_the_rest(tmp_path):
    (tmp_path / "old").write_text("old")
    (tmp_path / "kept").write_text("kept")
    with staged(tmp_path) as folder:
        (folder / "old").write_text("new")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "old": "new",
        "kept": "kept",
    }


def test_staged_leaves_nothing_after_an_error(tmp_path):
    (tmp_path / "old").write_text("old")

    def write_half(folder):
        (folder / "old").write_text("new")
        (folder / "more").write_text("more")
        raise RuntimeError

    with pytest.raises(RuntimeError), staged(tmp_path) as folder:
        write_half(folder)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("old", "old")]


def test_output_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="expected a folder to save the model in, got a file"):
        check_output_folder(tmp_path / "file", overwrite=False, resume=False)


@pytest.mark.parametrize("overwrite", [False, True])
def test_model_of_another_type_is_never_overwritten(tmp_path, overwrite):
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(InputError, match="a model of type 'bert', which would be lost"):
        check_output_folder(tmp_path, overwrite=overwrite, resume=False)


def test_overwriting_drops_the_old_checkpoints_when_asked_to(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "hf_attn"}')
    (tmp_path / "checkpoint-3").mkdir()
    with pytest.raises(InputError, match="--overwrite"):
        check_output_folder(tmp_path, overwrite=False, resume=False)
    check_output_folder(tmp_path, overwrite=True, resume=False)
    make_output_folder(tmp_path, keep_checkpoints=True)
    assert (tmp_path / "checkpoint-3").exists()
    make_output_folder(tmp_path, keep_checkpoints=False)
    assert not (tmp_path / "checkpoint-3").exists()


def test_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="expected a folder that can be written to"):
        make_output_folder(tmp_path / "file" / "model", keep_checkpoints=False)


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs a file system without files")  # noqa: PTH112
def test_read_only_file_system_is_refused():
    with pytest.raises(InputError, match="expected a folder that can be written to"):
        make_output_folder(Path("/proc/self/model"), keep_checkpoints=False)


# A limit on the size of a file stops writing in the middle, as a full disk does.
TRAIN_ON_A_FULL_DISK = """
import resource, signal, sys
sys.path.insert(0, sys.argv[1])
from trained import TINY, keyword_data
import hf_attn.cli, hf_attn.training
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]),) * 2)
hf_attn.cli.app = lambda: hf_attn.training.train(
    keyword_data(), sys.argv[2], **{**TINY, "hidden_size": 512}, **eval(sys.argv[4])
)
hf_attn.cli.main()
"""


@pytest.mark.parametrize(
    ("limit", "options"),
    [
        (20_000, {}),  # the weights of the first checkpoint do not fit
        (200_000, {}),  # its weights do, its optimizer does not
        (20_000, {"save_strategy": "no", "load_best_model_at_end": False}),  # the final weights
    ],
)
def test_full_disk_leaves_no_half_written_model(tmp_path, limit, options):
    process = subprocess.run(
        [sys.executable, "-c", TRAIN_ON_A_FULL_DISK, os.path.dirname(__file__),  # noqa: PTH120
         str(tmp_path / "m"), str(limit), repr(options)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert process.returncode == 2, process.stderr
    assert "could not be written" in process.stderr
    assert "Traceback" not in process.stderr
    assert list((tmp_path / "m").iterdir()) == []


def test_staged_file_is_whole_or_as_it_was(tmp_path):
    path = tmp_path / "file"
    with staged_file(path) as file:
        file.write_text("whole")

    def write_half():
        with staged_file(path) as file:
            file.write_text("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_half()
    assert path.read_text() == "whole"
    assert [one.name for one in path.parent.iterdir()] == ["file"]
