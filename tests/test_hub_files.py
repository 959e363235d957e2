"""What a push sends: an allow list, whole models only, code and card always, secrets never."""

import json
import logging
import shutil
import socket

import httpx2
import pytest
from huggingface_hub.errors import HfHubHTTPError
from typer.testing import CliRunner

import hf_attn.configuration_hf_attn
import hf_attn.modeling_hf_attn
from hf_attn import InputError
from hf_attn.cli import app
from hf_attn.hub import contents_of_push
from hf_attn.hub_errors import in_short, what_to_do
from hf_attn.hub_files import (
    MODEL_TYPES,
    check_place,
    contents_to_push,
    files_to_push,
    model_type_of,
    outdated_files,
    refuse_secrets,
)
from hf_attn.loading import load_classifier

FILES = [
    "README.md",
    "config.json",
    "configuration_hf_attn.py",
    "model.safetensors",
    "modeling_hf_attn.py",
    "run.json",
    "token_counts.json",
    "tokenization_hf_attn.py",
    "tokenizer.json",
    "tokenizer_config.json",
    "training_trace.json",
    "training_trace.md",
]


@pytest.fixture
def folder(trained_folder, tmp_path):
    target = shutil.copytree(trained_folder, tmp_path / "model")
    (target / "README.md").write_text("# A page of ours\n")
    return target


@pytest.fixture
def folded(folded_folder, tmp_path):
    target = shutil.copytree(folded_folder, tmp_path / "folded")
    (target / "README.md").write_text("# A page of ours\n")
    return target


def contents(folder):
    return {
        one.path: one.source if isinstance(one.source, bytes) else one.source.read_bytes()
        for one in contents_of_push(folder, "alice/x")
    }


def change_json(path, **fields):
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def test_only_what_a_model_needs_is_pushed(folder):
    secrets = ["training_args.bin", "optimizer.pt", "scheduler.pt", "rng_state.pth", "model.pkl"]
    others = ["pytorch_model.bin", ".env", "token", "trainer_state.json", "notes.txt"]
    for name in [*secrets, *others, "checkpoint-1/model.safetensors", ".unfinished-1/run.json"]:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("not for the Hub")
    assert list(files_to_push(folder)) == FILES


def test_folded_model_goes_with_the_same_files(folded):
    (folded / "notes.txt").write_text("not for the Hub")
    assert list(files_to_push(folded)) == FILES


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(InputError, match=f"expected a whole model, but there is no {name} in it"):
        files_to_push(folder)


def test_broken_weights_are_named(folder):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    with pytest.raises(InputError, match=r"model\.safetensors: expected weights in the safetensor"):
        files_to_push(folder)


@pytest.mark.parametrize("text", ["{", "[]"])
def test_broken_configuration_is_named(folder, text):
    (folder / "config.json").write_text(text)
    with pytest.raises(InputError, match=r"config\.json: expected "):
        files_to_push(folder)


def test_model_of_another_type_is_refused(folder):
    change_json(folder / "config.json", model_type="bert")
    expected = "expected a model of type 'hf_attn' or 'hf_attn_folded', got "
    with pytest.raises(InputError, match=f"{expected}'bert'"):
        files_to_push(folder)
    change_json(folder / "config.json", model_type={})
    with pytest.raises(InputError, match=expected):
        files_to_push(folder)


def test_what_is_no_folder_is_refused(folder):
    with pytest.raises(InputError, match="expected a folder with a model, found none"):
        files_to_push(folder / "nothing")
    with pytest.raises(InputError, match="expected a folder with a model, found a file"):
        files_to_push(folder / "run.json")


def test_shards_go_with_their_index(folder):
    shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    for shard in shards:
        shutil.copy(folder / "model.safetensors", folder / shard)
    (folder / "model.safetensors").unlink()
    index = {"weight_map": dict(zip("ab", shards, strict=True))}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert {*shards, "model.safetensors.index.json"} < files_to_push(folder).keys()
    (folder / shards[1]).unlink()
    with pytest.raises(InputError, match=f"there is no {shards[1]} in it"):
        files_to_push(folder)


def test_model_in_shards_without_a_page_gets_a_card(folder):
    model, _ = load_classifier(str(folder))
    (folder / "model.safetensors").unlink()
    (folder / "README.md").unlink()
    model.save_pretrained(folder, max_shard_size="1KB")
    sent = contents(folder)
    assert len([name for name in sent if name.startswith("model-")]) > 1
    assert "alice/x" in sent["README.md"].decode()


@pytest.mark.parametrize("cut", [False, True])
def test_code_that_is_missing_or_empty_comes_from_the_package(folder, cut):
    whole = contents(folder)
    for code in folder.glob("*_hf_attn.py"):
        code.unlink()
        if cut:
            code.touch()
    assert contents(folder) == whole


def test_code_is_named_by_configuration_and_tokenizer(folder):
    whole = contents(folder)
    change_json(folder / "config.json", auto_map={"AutoModel": "alice/x--modeling_hf_attn.Other"})
    change_json(folder / "tokenizer_config.json", auto_map=None)
    for name in ("config.json", "tokenizer_config.json"):
        assert json.loads(contents(folder)[name]) == json.loads(whole[name])


def test_code_of_a_folded_model_is_named_and_is_that_of_every_model(folder, folded):
    whole = contents(folded)
    assert json.loads(whole["config.json"])["auto_map"] == {
        "AutoConfig": "configuration_hf_attn.HfAttnFoldedConfig",
        "AutoModelForSequenceClassification": (
            "modeling_hf_attn.HfAttnFoldedForSequenceClassification"
        ),
    }
    change_json(folded / "config.json", auto_map=None)
    assert json.loads(contents(folded)["config.json"]) == json.loads(whole["config.json"])
    for code in folded.glob("*_hf_attn.py"):
        assert whole[code.name] == contents(folder)[code.name]
        code.unlink()
    assert contents(folded).keys() == whole.keys()


def test_types_are_those_of_the_configurations(folder, folded):
    types = []
    for one in (folder, folded):
        sent = contents_to_push(one)
        types.append(model_type_of(sent))
        names = json.loads(contents(one)["config.json"])["auto_map"].values()
        classes = [getattr(getattr(hf_attn, module), name)
                   for module, name in (name.split(".") for name in names)]  # fmt: skip
        configurations = {getattr(part, "config_class", part) for part in classes}
        assert {part.model_type for part in configurations} == {types[-1]}
    assert tuple(types) == MODEL_TYPES


@pytest.mark.parametrize(("held", "new"), [MODEL_TYPES, MODEL_TYPES[::-1]])
def test_folded_and_plain_models_do_not_replace_each_other(held, new):
    check_place("alice/x", FILES, held, FILES, held)
    check_place("alice/x", FILES, None, FILES, new)
    message = f"with a model of type '{new}', got one with a model of type '{held}'. Choose another"
    with pytest.raises(InputError, match=message):
        check_place("alice/x", FILES, held, FILES, new)


def test_adapter_is_of_a_plain_model(folder):
    (folder / "config.json").unlink()
    (folder / "model.safetensors").rename(folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "alice/base"}')
    sent = contents_to_push(folder)
    new, new_type = [content.path for content in sent], model_type_of(sent)
    check_place("alice/x", ["config.json"], "hf_attn", new, new_type)
    with pytest.raises(InputError, match="type 'hf_attn', got one with a model of type 'hf_attn_f"):
        check_place("alice/x", ["config.json"], "hf_attn_folded", new, new_type)
    with pytest.raises(InputError, match="expected a place for an adapter"):
        check_place("alice/x", FILES, "hf_attn_folded", new, new_type)


def test_tokenizer_of_another_library_goes_without_our_code(folder):
    change_json(folder / "tokenizer_config.json", tokenizer_class="BertTokenizer", auto_map=None)
    files = contents(folder)
    assert "tokenization_hf_attn.py" in FILES
    assert "tokenization_hf_attn.py" not in files
    assert json.loads(files["tokenizer_config.json"])["auto_map"] is None


def test_adapter_goes_alone_and_names_its_base(folder):
    (folder / "config.json").unlink()
    (folder / "model.safetensors").rename(folder / "adapter_model.safetensors")
    adapter = folder / "adapter_config.json"
    adapter.write_text(json.dumps({"base_model_name_or_path": "alice/base"}))
    sent = contents(folder)
    assert {"adapter_model.safetensors", "adapter_config.json", "README.md"} < sent.keys()
    # The model's code is in the base's repository, the tokenizer's must lie beside the tokenizer.
    assert [name for name in sent if name.endswith(".py")] == ["tokenization_hf_attn.py"]
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    assert not [name for name in contents(folder) if name.endswith(".py")]
    change_json(adapter, base_model_name_or_path=str(folder))
    with pytest.raises(InputError, match="to be the Hub id of the model that the adapter belongs"):
        contents_to_push(folder)


@pytest.mark.parametrize(
    "line", ["base_model: /tmp/base", "- base_model:adapter:./base", "base_model: 'C:\\base'"]
)
def test_page_of_an_adapter_that_names_a_local_base_is_refused(folder, line):
    (folder / "model.safetensors").rename(folder / "adapter_model.safetensors")
    change_json(folder / "config.json")
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "alice/base"}')
    (folder / "README.md").write_text(f"---\n{line}\n---\n# An adapter\n")
    with pytest.raises(InputError, match=r"README.md: expected base_model to be 'alice/base'"):
        contents_to_push(folder)
    (folder / "README.md").write_text("---\nbase_model: alice/base\n---\n# An adapter\n")
    assert contents_to_push(folder)


def test_dry_run_refuses_what_the_push_would(folder):
    (folder / "README.md").write_text(f"# A page\nhf_{'a' * 34}\n")
    result = CliRunner().invoke(app, ["push", str(folder), "alice/x", "--dry-run"])
    assert isinstance(result.exception, InputError)
    assert "access token in this file" in str(result.exception)


SIGNED = [
    ("for url (https://bucket/x?X-Amz-Signature=abc) at", "for url (https://bucket/x) at"),
    ("'https://cdn/y?Expires=1&Signature=abc'", "'https://cdn/y'"),
    ("with url: /s3/z?sig=abc (Caused by timeout)", "with url: /s3/z (Caused by timeout)"),
    ("no answer of https://me:abc@mirror/api", "no answer of https://mirror/api"),
    ("sent Authorization: Bearer abc", "sent Authorization: Bearer <token>"),
    (f"hf_attn and hf_xet of hf_{'a1B2' * 8}.", "hf_attn and hf_xet of <token>."),
    (f"hf_oauth_{'e_1-' * 8}, says the Hub", "<token>, says the Hub"),
    ("Which? https://hub/x: none?", "Which? https://hub/x: none?"),
]


@pytest.mark.parametrize(("text", "shown"), SIGNED)
def test_what_gives_access_is_left_out_of_errors_and_warnings(text, shown, caplog):
    assert in_short(ValueError(text)) == f"ValueError: {shown}"
    response = httpx2.Response(503, request=httpx2.Request("GET", "https://hub/x?sig=abc"))
    error = HfHubHTTPError("trouble", response=response, server_message=text)
    assert in_short(error) == f"HTTP 503 ({shown})"
    assert what_to_do(error, "alice/x", "main").count(shown) == 1
    for name in ("huggingface_hub.file_download", "huggingface_hub.utils._http"):
        logging.getLogger(name).error("%s: %s", "broke off", text)
        assert caplog.messages[-1] == f"broke off: {shown}"


def test_login_is_left_out_of_errors(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "a-token-of-mine")
    assert in_short(ValueError("no a-token-of-mine here")) == "ValueError: no <token> here"


def test_parts_of_an_older_model_do_not_stay_beside_a_new_one(folder):
    old = [
        "adapter_config.json",
        "adapter_model.safetensors",
        "added_tokens.json",
        "model-00001-of-00002.safetensors",
        "model.safetensors.index.json",
        "pytorch_model-00001-of-00002.bin",
        "pytorch_model.bin",
        "pytorch_model.bin.index.json",
        "special_tokens_map.json",
    ]
    others = ["notes.bin", "model.onnx", "data.json", "checkpoint-1/model.safetensors"]
    sent = contents(folder)
    assert outdated_files([*sent, *old, *others], sent) == old
    change_json(folder / "tokenizer_config.json", tokenizer_class="BertTokenizer")
    assert outdated_files(sent, contents(folder)) == ["tokenization_hf_attn.py"]


def test_records_of_an_older_model_do_not_stay_beside_a_new_one(folder):
    there = ["README.md", "config.json", "run.json", "token_counts.json", "all_results.json"]
    assert outdated_files(there, contents(folder)) == ["all_results.json"]
    there += ["training_trace.json", "training_trace.md"]
    records = ["run.json", "token_counts.json", "training_trace.json", "training_trace.md"]
    for name in records:
        (folder / name).unlink()
    without = contents(folder)
    assert outdated_files(there, without) == ["all_results.json", *records]


def test_folder_without_a_page_gets_a_card_of_its_repository(folder):
    (folder / "README.md").unlink()
    assert "alice/x" in contents(folder)["README.md"].decode()
    assert not (folder / "README.md").exists()


def test_folded_model_without_a_page_gets_a_card_that_says_so(folded):
    (folded / "README.md").unlink()
    card = contents(folded)["README.md"].decode()
    assert "# alice/x\n" in card
    assert "## Folding\n" in card


def test_page_that_somebody_wrote_is_kept(folder):
    assert contents(folder)["README.md"] == b"# A page of ours\n"


@pytest.mark.parametrize("secret", ["hf_" + "a1B2" * 8, "my-token"])
def test_secret_in_a_file_is_refused_without_showing_it(folder, secret):
    change_json(folder / "run.json", settings={"hub_token": secret})
    with pytest.raises(
        InputError, match=r"run\.json: expected no secrets, got an access"
    ) as raised:
        refuse_secrets(contents_to_push(folder), "my-token")
    assert secret not in str(raised.value)


def test_dry_run_lists_files_and_card_without_any_network(folder, monkeypatch):
    def refuse(*_):
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    before = sorted(folder.iterdir())
    result = CliRunner().invoke(app, ["push", str(folder), "alice/x", "--dry-run"])
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert [line.split()[0] for line in lines[: len(FILES)]] == FILES
    size = (folder / "model.safetensors").stat().st_size
    assert f"model.safetensors         {size:>13,} bytes" in lines
    assert lines[len(FILES) + 1] == "Nothing was sent."
    assert lines[-1] == "# A page of ours"
    assert sorted(folder.iterdir()) == before


def test_dry_run_of_a_folded_model_shows_its_files(folded):
    result = CliRunner().invoke(app, ["push", str(folded), "alice/x", "--dry-run"])
    assert result.exit_code == 0, result.output
    assert [line.split()[0] for line in result.output.splitlines()[: len(FILES)]] == FILES


@pytest.mark.parametrize("name", ["bad name!!", "alone"])
def test_dry_run_refuses_a_name_that_no_repository_has(folder, name):
    with pytest.raises(InputError, match="expected a repository as user/name"):
        contents_of_push(folder, name)
