"""What a training pushes to the Hub: whole models, one save each, and nothing secret."""

import json

import pytest
import torch
from hub_clients import commits, held, run_client, run_command
from models import small_classifier
from safetensors.torch import load, save_file
from trained import TINY, keyword_data, keyword_texts
from transformers import TrainingArguments

from hf_attn import train
from hf_attn.trainer import HfAttnTrainer, _copy_checkpoint

STRATEGIES = ["end", "every_save", "checkpoint", "all_checkpoints"]
MODEL = {
    "README.md", "config.json", "configuration_hf_attn.py", "model.safetensors",
    "modeling_hf_attn.py", "tokenization_hf_attn.py", "tokenizer.json", "tokenizer_config.json",
}  # fmt: skip
TRAINED = MODEL | {
    "run.json", "token_counts.json", "training_trace.json", "training_trace.md",
}  # fmt: skip
TOKEN = "hf_alice_write"

TRAIN = """
    import json, os, sys
    from pathlib import Path
    import numpy as np
    from trained import TINY, keyword_data
    from transformers import TrainingArguments
    from hf_attn import train
    from hf_attn.batching import TokenizedTexts, keep_batch
    from hf_attn.trainer import HfAttnTrainer

    folder = Path(sys.argv[1])
    options = TINY | {"token_dropout": 0.3, "save_total_limit": None}
    train(keyword_data(), folder / "unpushed", **options)
    for strategy in sys.argv[2:]:
        train(
            keyword_data(), folder / strategy, **options, push_to_hub=True, hub_strategy=strategy,
            hub_model_id=f"alice/{strategy}", hub_token="hf_alice_write", hub_private_repo=True,
        )
    train(
        keyword_data(), folder / "lora", model=str(folder / "end"), lora_rank=2, max_steps=8,
        save_strategy="steps", eval_strategy="steps", save_steps=4, eval_steps=4,
        push_to_hub=True, hub_model_id="acme/lora", hub_token="hf_alice_write",
        hub_revision="try",
    )

    os.environ["HF_TOKEN"] = "hf_alice_write"
    run = train(keyword_data(), folder / "start", **options)
    trainer = HfAttnTrainer(
        model=run.model,
        args=TrainingArguments(
            folder / "by-hand", max_steps=2, report_to="none", save_strategy="no",
            disable_tqdm=True, remove_unused_columns=False, use_cpu=True,
        ),
        train_dataset=TokenizedTexts.from_texts(
            ["wheat corn", "crude opec"], run.tokenizer, labels=np.array([0, 1])
        ),
        data_collator=keep_batch,
        processing_class=run.tokenizer,
    )
    trainer.train()
    print(json.dumps(trainer.push_to_hub(finetuned_from="x").files))
"""


@pytest.fixture(scope="module")
def folder(hub, tmp_path_factory):
    """A folder with what was trained; the Hub is slower than the training that pushes to it."""
    path = tmp_path_factory.mktemp("trained")
    hub.fault("POST .*/commit/", "slow", delay=0.5, times=-1)
    run_client(hub, path / "home", TRAIN, path, *STRATEGIES, token=None)
    hub.faults.clear()
    return path


def weights(content):
    """The weights that do not depend on what contributions are counted from."""
    tensors = load(content)
    del tensors["score.reference"], tensors["score.bias"]
    return {name: tensor.tolist() for name, tensor in tensors.items()}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_each_push_of_a_training_is_one_commit_with_a_whole_model(hub, folder, strategy):
    titles = [f"Training in progress, epoch {epoch}" for epoch in (1, 2, 3)]
    made = commits(hub, f"alice/{strategy}").values()
    expected = [*(titles if strategy != "end" else []), "End of training"]
    assert [commit["title"] for commit in made] == expected
    for commit in made:
        whole = TRAINED if commit["title"] == "End of training" else MODEL
        assert {path for path in held(hub, commit) if "/" not in path} == whole
    assert hub.repos["model", f"alice/{strategy}"]["private"]


@pytest.mark.parametrize("strategy", STRATEGIES[1:])
def test_each_commit_holds_the_weights_of_its_own_step(hub, folder, strategy):
    *saves, _ = commits(hub, f"alice/{strategy}").values()
    for commit, step in zip(saves, (4, 8, 12), strict=True):
        saved = (folder / strategy / f"checkpoint-{step}" / "model.safetensors").read_bytes()
        assert weights(held(hub, commit)["model.safetensors"]) == weights(saved)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_last_commit_holds_what_the_training_saved(hub, folder, strategy):
    files = held(hub, list(commits(hub, f"alice/{strategy}").values())[-1])
    for name in TRAINED - {"README.md"}:  # which names the repository
        assert files[name] == (folder / strategy / name).read_bytes(), name


@pytest.mark.parametrize(
    ("strategy", "places"),
    [
        ("checkpoint", ["last-checkpoint"]),
        ("all_checkpoints", ["checkpoint-4", "checkpoint-8", "checkpoint-12"]),
    ],
)
def test_checkpoints_are_pushed_without_pickles(hub, folder, strategy, places):
    files = held(hub, list(commits(hub, f"alice/{strategy}").values())[-1])
    inside = MODEL - {"README.md"} | {"trainer_state.json"}
    assert {path for path in files if "/" in path} == {
        f"{place}/{name}" for place in places for name in inside
    }
    state = json.loads(files[f"{places[-1]}/trainer_state.json"])
    assert state["global_step"] == 12
    assert "/" not in state["best_model_checkpoint"]
    saved = (folder / strategy / "checkpoint-12" / "model.safetensors").read_bytes()
    assert files[f"{places[-1]}/model.safetensors"] == saved


def test_training_goes_on_from_a_checkpoint_of_the_hub(hub, folder, tmp_path):
    files = held(hub, list(commits(hub, "alice/all_checkpoints").values())[-1])
    (tmp_path / "checkpoint-8").mkdir()
    for path, content in files.items():
        if path.startswith("checkpoint-8/"):
            (tmp_path / path).write_bytes(content)
    run = train(
        keyword_data(),
        tmp_path / "m",
        **TINY,
        resume_from_checkpoint=str(tmp_path / "checkpoint-8"),
    )
    pushed = json.loads(files["run.json"])
    assert [epoch["step"] for epoch in run.record["epochs"]] == [4, 8, 12]
    assert run.record["epochs"][:2] == pushed["epochs"][:2]


def test_pushing_does_not_change_what_is_trained(folder):
    expected = (folder / "unpushed" / "model.safetensors").read_bytes()
    for strategy in STRATEGIES:
        assert (folder / strategy / "model.safetensors").read_bytes() == expected


def test_every_commit_loads_where_the_package_is_not_installed(hub, folder, tmp_path):
    repos = [f"alice/{strategy}" for strategy in STRATEGIES]
    pins = [(repo, oid) for repo in repos for oid in commits(hub, repo)]
    pins += [("acme/lora", oid) for oid in commits(hub, "acme/lora", "refs/heads/try")]
    printed = run_client(
        hub,
        tmp_path,
        """
        import json, sys
        from transformers import AutoModelForSequenceClassification, AutoTokenizer
        for repo, oid in json.loads(sys.argv[1]):
            pinned = {"revision": oid, "trust_remote_code": True}
            model, report = AutoModelForSequenceClassification.from_pretrained(
                repo, output_loading_info=True, **pinned
            )
            assert not any(report.values()), report
            tokenizer = AutoTokenizer.from_pretrained(repo, **pinned)
            outputs = model(**tokenizer("wheat", return_tensors="pt"), output_contributions=True)
            total = outputs.bias + outputs.contributions.sum(1)
            assert (total - outputs.logits).abs().max() < 1e-5
            print(model.score.reference.any().item())
        """,
        json.dumps(pins),
        without_package=True,
    )
    assert printed.splitlines() == ["True"] * len(pins)
    assert len(pins) == 1 + 4 + 4 + 4 + 3


def test_lora_is_pushed_merged(hub, folder):
    made = list(commits(hub, "acme/lora", "refs/heads/try").values())
    assert [commit["title"] for commit in made] == [
        "Training in progress, step 4", "Training in progress, step 8", "End of training",
    ]  # fmt: skip
    assert {path for path in held(hub, made[0]) if "/" not in path} == MODEL
    assert commits(hub, "acme/lora") == {}


@pytest.mark.parametrize("on_the_hub", [False, True])
def test_checkpoint_of_an_adapter_names_no_folder_of_this_machine(tmp_path, on_the_hub):
    base = "user/base" if on_the_hub else str(tmp_path / "base")
    saved, copied = tmp_path / "checkpoint-4", tmp_path / "copied"
    saved.mkdir()
    save_file({"lora": torch.zeros(1)}, saved / "adapter_model.safetensors")
    (saved / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": base}))
    (saved / "README.md").write_text(f"---\nbase_model: {base}\n---\n")
    state = {"best_model_checkpoint": str(saved), "global_step": 4}
    (saved / "trainer_state.json").write_text(json.dumps(state))
    _copy_checkpoint(saved, copied)
    texts = {path.name: path.read_text() for path in copied.glob("*.json")}
    assert not (copied / "README.md").exists()
    named = json.loads(texts["adapter_config.json"])["base_model_name_or_path"]
    assert named == ("user/base" if on_the_hub else "base")
    assert json.loads(texts["trainer_state.json"])["best_model_checkpoint"] == "checkpoint-4"
    assert str(tmp_path) not in "".join(texts.values())


def test_arguments_of_the_caller_keep_their_token(tmp_path):
    arguments = TrainingArguments(output_dir=str(tmp_path), hub_token="hf_of_the_caller")
    trainer = HfAttnTrainer(args=arguments, model=small_classifier(dtype=torch.float32))
    assert arguments.hub_token == "hf_of_the_caller"
    assert trainer.args.hub_token is None


def test_trainer_pushes_by_itself_what_it_has_trained(hub, folder):
    (commit,) = commits(hub, "alice/by-hand").values()
    files = held(hub, commit)
    assert files.keys() == MODEL
    assert "fine-tuned version of" not in files["README.md"].decode()
    saved = (folder / "by-hand" / "model.safetensors").read_bytes()
    assert files["model.safetensors"] == saved


def test_no_token_and_no_pickle_is_pushed_or_saved(hub, folder):
    names = {
        path
        for repo in hub.repos.values()
        for commit in repo["commits"].values()
        for path in commit["files"]
    }
    assert {path.rpartition(".")[2] for path in names} <= {
        "gitattributes", "json", "md", "py", "safetensors",
    }  # fmt: skip
    stored = [path for part in (hub.root, folder) for path in part.rglob("*") if path.is_file()]
    assert stored
    assert [path for path in stored if TOKEN.encode() in path.read_bytes()] == []


# What goes wrong


@pytest.fixture
def texts(tmp_path):
    rows = keyword_texts(120)
    lines = [
        json.dumps({"text": text, "label": label})
        for text, label in zip(rows["text"], rows["label"], strict=True)
    ]
    (tmp_path / "train.jsonl").write_text("\n".join(lines) + "\n")
    return tmp_path / "train.jsonl"


SMALL = ["--hidden-size", "8", "--head-dim", "4", "--num-train-epochs", "2", "--push-to-hub"]


def test_failed_push_is_reported_with_what_to_type_and_the_model_is_kept(hub, texts, tmp_path):
    hub.fault("POST .*/alice/refused/commit/", status=403, times=-1)
    arguments = ["--hub-model-id", "alice/refused", "--hub-token", TOKEN, *SMALL]
    done = run_command(
        hub, tmp_path / "home", "train", texts, "--output-dir", tmp_path / "m", *arguments,
        token=None,
    )  # fmt: skip
    hub.faults.clear()
    assert done.returncode == 2
    assert "Trained on" in done.stdout
    *_, last = done.stderr.splitlines()
    assert f"error: The model is trained and saved in {tmp_path / 'm'}, but it is not" in last
    retry = f"hf-attn push {tmp_path / 'm'} alice/refused"
    assert last.endswith(f"To try again: {retry}")
    assert "Traceback" not in done.stderr
    assert TOKEN not in done.stdout + done.stderr
    again = run_command(hub, tmp_path / "home", *retry.split()[1:])
    assert again.returncode == 0, again.stderr
    (commit,) = commits(hub, "alice/refused").values()
    assert held(hub, commit).keys() == TRAINED


def test_push_that_failed_on_the_way_is_reported_though_the_last_one_went_well(
    hub, texts, tmp_path
):
    hub.fault("POST .*/alice/lossy/commit/", status=403, times=1)
    arguments = ["--hub-model-id", "alice/lossy", *SMALL]
    done = run_command(
        hub, tmp_path / "home", "train", texts, "--output-dir", tmp_path / "m", *arguments
    )
    assert done.returncode == 2
    assert "on the Hub, but of the saves before it are not: Training in progress, epoch 1." in (
        done.stderr
    )
    titles = [commit["title"] for commit in commits(hub, "alice/lossy").values()]
    assert titles == ["Training in progress, epoch 2", "End of training"]


def test_what_would_be_refused_is_said_before_anything_is_read(hub, tmp_path):
    asked = [
        (None, "alice/x", {}, "expected an access token, found none"),
        ("wrong", "alice/x", {}, "the token is not valid"),
        ("hf_alice_read", "alice/x", {}, "expected a token with write access"),
        (TOKEN, "bob/x", {}, "which starts with alice/ or acme/"),
        (TOKEN, "a b/x", {}, "expected a repository as user/name, got 'a b/x'"),
        (TOKEN, "alice/x", {"hub_revision": "0" * 40}, "expected a branch, got the commit"),
        (TOKEN, "alice/there", {"hub_private_repo": True}, "expected a private repository"),
    ]
    printed = run_client(
        hub,
        tmp_path / "home",
        """
        import json, os, sys
        from huggingface_hub import create_repo
        from hf_attn import InputError, train
        create_repo("alice/there", token="hf_alice_write")
        for token, name, options, _ in json.loads(sys.argv[1]):
            os.environ |= {"HF_TOKEN": token or ""}
            try:
                train("none.csv", sys.argv[2], push_to_hub=True, hub_model_id=name, **options)
            except InputError as error:
                print(error)
        """,
        json.dumps(asked),
        tmp_path / "m",
        token=None,
    )
    lines = printed.splitlines()
    assert len(lines) == len(asked)
    for line, (token, _, _, message) in zip(lines, asked, strict=True):
        assert message in line
        assert not token or token not in line
    assert not (tmp_path / "m").exists()
    assert ("model", "bob/x") not in hub.repos


@pytest.mark.slow
def test_hub_that_has_trouble_all_the_time_ends_in_an_error(hub, texts, tmp_path):
    hub.fault("POST .*/alice/broken/commit/", status=500, times=-1)
    arguments = ["--hub-model-id", "alice/broken", "--hub-strategy", "end", *SMALL]
    done = run_command(
        hub, tmp_path / "home", "train", texts, "--output-dir", tmp_path / "m", *arguments
    )
    hub.faults.clear()
    assert done.returncode == 2
    assert f"To try again: hf-attn push {tmp_path / 'm'} alice/broken" in done.stderr
    assert commits(hub, "alice/broken") == {}
