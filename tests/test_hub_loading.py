"""Loading from the Hub in fresh processes: with the package and without, and cut off from it."""

import json
import time

import pytest
from hub_clients import commits, held, run_client, run_command

from hf_attn import InputError
from hf_attn.fetching import fetch_model

TEXTS = ["oil prices rose", "the bank cut rates", "wheat and oil exports fell"]

PUSH = """
    import json, sys
    import torch
    from huggingface_hub import HfApi
    from models import small_classifier
    from hf_attn import HfAttnTokenizer

    tokenizer = HfAttnTokenizer.train_from_iterator(json.loads(sys.argv[1]))
    model = small_classifier(
        dtype=torch.float32, vocab_size=len(tokenizer), id2label={0: "a", 1: "b", 2: "c"},
        label2id={"a": 0, "b": 1, "c": 2},
    )
    api = HfApi()
    for name, part, private in (
        ("classifier", model, False), ("base", model.model, False), ("private", model, True),
        ("gated", model, False),
    ):
        part.push_to_hub(f"alice/{name}", private=private)
        tokenizer.push_to_hub(f"alice/{name}")
    api.update_repo_settings("alice/gated", gated="manual")
    api.create_tag("alice/classifier", tag="v1")
    api.create_branch("alice/classifier", branch="next")
    with torch.no_grad():
        model.score.bias.add_(1)
    model.push_to_hub("alice/classifier", revision="next")
    model.score.bias.data.sub_(1)
    inputs = tokenizer(json.loads(sys.argv[1]), padding=True, return_tensors="pt")
    outputs = model(**inputs, output_contributions=True)
    answers = outputs.logits, outputs.contributions, model.model(**inputs).pooler_output
    torch.save([answer.detach() for answer in answers], sys.argv[2])
"""

LOAD = """
    import json, sys
    import torch
    {imports}
    from transformers import (
        AutoConfig, AutoModel, AutoModelForSequenceClassification, AutoTokenizer, pipeline
    )

    texts, trust = json.loads(sys.argv[1]), {trust}
    logits, contributions, pooled = torch.load(sys.argv[2])
    names = set()
    for repo in ("alice/classifier", "alice/base"):
        assert AutoConfig.from_pretrained(repo, **trust).head_dim == 6
        tokenizer = AutoTokenizer.from_pretrained(repo, **trust)
        inputs = tokenizer(texts, padding=True, return_tensors="pt")
        base = AutoModel.from_pretrained(repo, **trust)
        torch.testing.assert_close(base(**inputs).pooler_output, pooled, rtol=0, atol=1e-6)
        model = AutoModelForSequenceClassification.from_pretrained(repo, num_labels=3, **trust)
        names |= {{type(part).__module__.split(".")[0] for part in (tokenizer, base, model)}}
        assert model(**inputs).logits.shape == (3, 3)
    for revision, shift in (("v1", 0), ("next", 1), (sys.argv[3], 0), (None, 0)):
        model = AutoModelForSequenceClassification.from_pretrained(
            "alice/classifier", revision=revision, **trust
        )
        outputs = model(**inputs, output_contributions=True)
        torch.testing.assert_close(outputs.logits, logits + shift, rtol=0, atol=1e-6)
        assert torch.equal(outputs.contributions, contributions)
    classify = pipeline("text-classification", "alice/classifier", **trust)
    answer = "abc"[logits[0].argmax()]
    assert classify(texts[0])[0]["label"] == answer
    print(*names)
"""


@pytest.fixture(params=["xet", "lfs"])
def transfer(request):
    """Variables of a process that gets weights by Xet, and of one that does not."""
    return {} if request.param == "xet" else {"HF_HUB_DISABLE_XET": "1"}


@pytest.fixture(scope="module")
def shared(hub, tmp_path_factory):
    """A file with what the models on the Hub answered before they were pushed."""
    path = tmp_path_factory.mktemp("shared")
    run_client(hub, path, PUSH, json.dumps(TEXTS), path / "answers.pt")
    return path / "answers.pt"


@pytest.fixture(scope="module")
def trained(hub, trained_folder, tmp_path_factory):
    """A trained folder that is on the Hub as alice/trained, but for its card."""
    path = tmp_path_factory.mktemp("trained")
    run_client(
        hub,
        path,
        "import sys\n"
        "from hf_attn.hub import push_folder\n"
        "push_folder(sys.argv[1], 'alice/trained')\n",
        trained_folder,
    )
    return trained_folder


def came_by_xet(hub):
    """Says whether weights were asked for by Xet and not as whole files, nor the other way."""
    ways = {request["path"].split("/")[1] for request in hub.log if request["origin"] == "cdn"}
    return {"xorb": True, "s3": False}[(ways & {"xorb", "s3"}).pop()]


@pytest.mark.parametrize("package", ["with", "without"])
def test_auto_classes_and_pipeline_load_from_the_hub(package, hub, shared, tmp_path, transfer):
    without = package == "without"
    code = LOAD.format(
        imports="" if without else "import hf_attn",
        trust="{'trust_remote_code': True}" if without else "{}",
    )
    pin = list(commits(hub, "alice/classifier", "refs/tags/v1"))[-1]
    hub.log.clear()
    printed = run_client(
        hub, tmp_path, code, json.dumps(TEXTS), shared, pin,
        token=None, without_package=without, **transfer,
    )  # fmt: skip
    assert came_by_xet(hub) == (not transfer)
    assert printed.split() == ["transformers_modules" if without else "hf_attn"]


def test_what_may_not_be_read_is_said_in_words(hub, shared, tmp_path):
    asked = [
        (None, "alice/private", None, "or it is private"),
        ("hf_bob_write", "alice/private", None, "or it is private"),
        ("hf_alice_read", "alice/private", None, "HfAttnForSequenceClassification"),
        (None, "alice/gated", None, "grants access one by one"),
        ("hf_bob_write", "alice/gated", None, "grants access one by one"),
        ("hf_alice_write", "alice/gated", None, "HfAttnForSequenceClassification"),
        ("wrong", "alice/next", None, "does not know the token"),
        (None, "alice/classifier", "none", "expected a branch, tag or commit of it, got revision="),
        (None, "alice/classifier", "v1", "HfAttnForSequenceClassification"),
        (None, "alice/base", None, "expected the weights of a whole classifier"),
        (None, "alice/none", None, "expected a folder or a model on the Hub, found neither"),
        (None, "a--b/c", None, "Expected a folder or a Hub id such as user/name, got 'a--b/c'"),
    ]
    printed = run_client(
        hub,
        tmp_path,
        """
        import json, os, sys
        from hf_attn import InputError
        from hf_attn.loading import load_classifier
        for token, name, revision, _ in json.loads(sys.argv[1]):
            os.environ |= {"HF_TOKEN": token or ""}
            try:
                print(type(load_classifier(name, revision=revision)[0]).__name__)
            except InputError as error:
                print(error)
        """,
        json.dumps(asked),
        token=None,
    )
    for line, (token, _, _, message) in zip(printed.splitlines(), asked, strict=True):
        assert message in line
        assert not token or token not in line


def test_model_without_the_package_is_saved_unchanged_for_three_generations(
    hub, trained, tmp_path, transfer
):
    owner = "acme" if transfer else "alice"
    run_client(
        hub,
        tmp_path,
        """
        import sys
        from transformers import AutoModelForSequenceClassification, AutoTokenizer
        for auto in (AutoModelForSequenceClassification, AutoTokenizer):
            source = "alice/trained"
            for generation in (1, 2, 3):
                part = auto.from_pretrained(source, trust_remote_code=True)
                source = f"{sys.argv[1]}/generation-{generation}"
                part.push_to_hub(source)
        """,
        owner,
        without_package=True,
        **transfer,
    )
    generations = [
        held(hub, list(commits(hub, f"{owner}/generation-{generation}").values())[-1])
        for generation in (1, 2, 3)
    ]
    first, second, third = generations
    assert second == third == first
    own = {path.name: path.read_bytes() for path in trained.iterdir() if path.is_file()}
    names = set(first) - {"config.json", "tokenizer_config.json", "README.md"}
    assert {name: first[name] for name in names} == {name: own[name] for name in names}


FOLD_AND_PUSH = """
    import sys
    import torch
    from transformers import AutoModelForSequenceClassification
    from hf_attn import HfAttnTokenizer, fold
    from hf_attn.hub import push_folder

    tokenizer = HfAttnTokenizer.from_pretrained("alice/classifier")
    model = AutoModelForSequenceClassification.from_pretrained("alice/classifier")
    for table_dtype in ("float32", "float16", "int8"):
        folder = f"{sys.argv[1]}/{table_dtype}"
        fold(model, table_dtype=table_dtype).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        push_folder(folder, f"alice/folded-{table_dtype}")
"""

LOAD_FOLDED = """
    import json, sys
    import torch
    {imports}
    from transformers import (
        AutoConfig, AutoModelForSequenceClassification, AutoTokenizer, pipeline
    )

    texts, trust = json.loads(sys.argv[1]), {trust}
    logits, contributions, _ = torch.load(sys.argv[2])
    for table_dtype, atol in (("float32", 1e-5), ("float16", 1e-2), ("int8", 1e-1)):
        name = f"alice/folded-{{table_dtype}}"
        assert AutoConfig.from_pretrained(name, **trust).table_dtype == table_dtype
        inputs = AutoTokenizer.from_pretrained(name, **trust)(
            texts, padding=True, return_tensors="pt"
        )
        model = AutoModelForSequenceClassification.from_pretrained(name, **trust)
        outputs = model(**inputs, output_contributions=True)
        for found, expected in (
            (outputs.logits, logits), (outputs.contributions, contributions),
            (outputs.bias + outputs.contributions.sum(1), outputs.logits),
        ):
            torch.testing.assert_close(found, expected, rtol=0, atol=atol)
        # What a loader that gave fresh tables would pass by chance in nothing but 0.
        assert outputs.contributions.abs().max() > 0.1
        classify = pipeline("text-classification", name, top_k=None, **trust)
        for answer, row in zip(classify(texts, batch_size=2), logits.softmax(-1), strict=True):
            scores = {{part["label"]: part["score"] for part in answer}}
            for label, score in zip("abc", row.tolist(), strict=True):
                assert abs(scores[label] - score) < atol, (table_dtype, scores, row)
        print(type(model).__module__.split(".")[0], type(model).__name__)
"""


@pytest.fixture(scope="module")
def folded(hub, shared, tmp_path_factory):
    """What alice/folded-float32, -float16 and -int8 answered before they were folded."""
    home = tmp_path_factory.mktemp("folded")
    run_client(hub, home, FOLD_AND_PUSH, home)
    return shared


@pytest.mark.parametrize("package", ["with", "without"])
def test_folded_models_load_from_the_hub(package, hub, folded, tmp_path):
    without = package == "without"
    code = LOAD_FOLDED.format(
        imports="" if without else "import hf_attn",
        trust="{'trust_remote_code': True}" if without else "{}",
    )
    printed = run_client(
        hub, tmp_path, code, json.dumps(TEXTS), folded, token=None, without_package=without
    )
    module = "transformers_modules" if without else "hf_attn"
    assert printed == f"{module} HfAttnFoldedForSequenceClassification\n" * 3


def test_commands_take_a_folded_model_of_the_hub_or_say_why_not(hub, folded, tmp_path):
    shown = run_command(hub, tmp_path, "explain", "alice/folded-float32", TEXTS[0], token=None)
    assert shown.returncode == 0, shown.stderr
    assert "contribution" in shown.stdout
    refused = run_command(hub, tmp_path, "trace", "alice/folded-float32", TEXTS[0], token=None)
    assert refused.returncode == 2
    assert "alice/folded-float32: expected a model with embeddings" in refused.stderr


# Cut off


def test_cut_download_goes_on_by_itself(hub, trained, tmp_path, transfer):
    hub.log.clear()
    hub.fault("GET .*/resolve/.*config.json", "drop", after_bytes=0)
    hub.fault("GET .*/revision/main", status=503)
    done = run_command(
        hub, tmp_path / "home", "pull", "alice/trained", tmp_path / "m", token=None, **transfer
    )
    assert done.returncode == 0, done.stderr
    assert came_by_xet(hub) == (not transfer)
    assert not [fault for fault in hub.faults if not fault["hits"]]
    files = {path.name: path.read_bytes() for path in (tmp_path / "m").iterdir()}
    (commit,) = commits(hub, "alice/trained").values()
    assert files == held(hub, commit)
    assert done.stdout.split() == [str(tmp_path / "m" / name) for name in sorted(files)]


def test_pulled_model_answers_like_the_one_on_the_hub(hub, trained, tmp_path):
    pulled = run_command(hub, tmp_path / "home", "pull", "alice/trained", tmp_path / "m")
    assert pulled.returncode == 0, pulled.stderr
    text = "wheat harvest"
    answers = [
        run_command(hub, tmp_path / "home", "predict", name, text).stdout
        for name in ("alice/trained", tmp_path / "m")
    ]
    assert answers[0] == answers[1] != ""


class Gone:
    """A Hub whose address nobody answers at."""

    endpoint = "http://127.0.0.1:9"


def test_dead_hub_is_not_waited_for_where_the_cache_is_warm(hub, trained, tmp_path):
    first = run_command(hub, tmp_path, "predict", "alice/trained", "wheat")
    started = time.perf_counter()
    offline = run_command(Gone, tmp_path, "predict", "alice/trained", "wheat", HF_HUB_OFFLINE="1")
    between = time.perf_counter()
    dead = run_command(Gone, tmp_path, "predict", "alice/trained", "wheat")
    seconds = time.perf_counter() - between, between - started
    assert first.stdout == dead.stdout == offline.stdout != ""
    assert seconds[0] < seconds[1] + 10  # the client alone tries for 23 s and more


def test_dead_hub_and_cold_cache_say_what_is_missing(hub, trained, tmp_path):
    cold = run_command(Gone, tmp_path, "predict", "alice/trained", "wheat")
    assert cold.returncode == 2
    assert "alice/trained: cannot be fetched, and not all its files are in the cache" in cold.stderr
    assert str(tmp_path / "hub") in cold.stderr
    assert "Traceback" not in cold.stderr

    run_command(hub, tmp_path, "predict", "alice/trained", "wheat")
    (tokenizer,) = (tmp_path / "hub").glob("models--alice--trained/snapshots/*/tokenizer.json")
    tokenizer.unlink()
    partly = run_command(Gone, tmp_path, "predict", "alice/trained", "wheat")
    assert partly.returncode == 2
    assert "tokenizer.json" in partly.stderr


def test_token_that_no_header_can_hold_is_refused_without_showing_it(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_SECRET\x0bpart")
    with pytest.raises(InputError, match="characters that no token has") as caught:
        fetch_model("alice/x")
    assert "SECRET" not in str(caught.value)
