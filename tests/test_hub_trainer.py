"""What a training pushes to the Hub: whole models, one save each, and nothing secret."""

import json

import pytest
import torch
from hub_clients import MODEL, TRAINED, commits, held, run_client
from models import small_classifier
from safetensors.torch import load, save_file
from trained import TINY, keyword_data
from transformers import TrainingArguments

from hf_attn import train
from hf_attn.hub_checkpoints import copy_checkpoint
from hf_attn.trainer import HfAttnTrainer

STRATEGIES = ["end", "every_save", "checkpoint", "all_checkpoints"]
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
    options = TINY | {"token_dropout": 0.3, "save_total_limit": None, "license": "mit"}
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

    data = keyword_data()
    del data["validation"]
    train(
        data, folder / "unvalidated", **options, validation_size=0, push_to_hub=True,
        hub_model_id="alice/unvalidated", hub_token="hf_alice_write",
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
    (folder / "by-hand" / "run.json").write_text('{"of": "another run"}')
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
        assert {path for path in held(hub, commit) if "/" not in path} == TRAINED
    assert hub.repos["model", f"alice/{strategy}"]["private"]


@pytest.mark.parametrize("strategy", STRATEGIES[1:])
def test_each_commit_holds_the_weights_of_its_own_step(hub, folder, strategy):
    *saves, _ = commits(hub, f"alice/{strategy}").values()
    for commit, step in zip(saves, (4, 8, 12), strict=True):
        saved = (folder / strategy / f"checkpoint-{step}" / "model.safetensors").read_bytes()
        assert weights(held(hub, commit)["model.safetensors"]) == weights(saved)


@pytest.mark.parametrize("strategy", STRATEGIES[1:])
def test_each_commit_says_what_is_known_of_the_run_at_its_save(hub, folder, strategy):
    *saves, last = commits(hub, f"alice/{strategy}").values()
    finished = json.loads(held(hub, last)["run.json"])
    assert finished["is_finished"]
    for number, commit in enumerate(saves, start=1):
        files = held(hub, commit)
        record, card = json.loads(files["run.json"]), files["README.md"].decode()
        assert record["epochs"] == finished["epochs"][:number]
        assert record["settings"] == finished["settings"]
        assert (record["is_finished"], record["metrics"]) == (False, {})
        assert f"The weights are those after epoch {number} of 3, while training goes on." in card
        assert "license: mit" in card
        assert files["token_counts.json"] == held(hub, last)["token_counts.json"]
    assert "while training goes on" not in held(hub, last)["README.md"].decode()


@pytest.mark.parametrize("name", ["every_save", "unvalidated"])
def test_each_commit_has_the_trace_of_its_own_epochs(hub, folder, name):
    for commit in commits(hub, f"alice/{name}").values():
        files = held(hub, commit)
        record, trace = (json.loads(files[part]) for part in ("run.json", "training_trace.json"))
        assert [one["epoch"] for one in trace["epochs"]] == [
            one["epoch"] for one in record["epochs"]
        ]
        assert all(one["attention_entropy"] for one in trace["epochs"])
    assert len(trace["epochs"]) == 3


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
    assert {path for path in held(hub, made[0]) if "/" not in path} == TRAINED
    assert 'revision="try"' in held(hub, made[0])["README.md"].decode()
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
    copy_checkpoint(saved, copied)
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
