"""The model card: its metadata, numbers, code and escaping, and what it must not give away."""

import itertools
import json
import re
import shutil
from pathlib import Path

import datasets
import numpy as np
import pytest
import yaml
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt
from models import small_classifier
from processes import run_python
from trained import TINY, WORDS, keyword_data

from hf_attn import HfAttnTokenizer, InputError, explain, read_lexicon, read_token_counts, train
from hf_attn.card import keeps_page, make_card, render_card
from hf_attn.corpora import corpus_path
from hf_attn.fold_folder import fold_folder
from hf_attn.loading import load_classifier
from hf_attn.model_folder import RunFiles
from hf_attn.run_record import read_record
from hf_attn.training_trace import read_training_trace

ROOT = Path(__file__).parents[1]
TOKEN = "hf_" + "aBcDeFgHiJ" * 3


def front_matter(card):
    return yaml.safe_load(card.split("---\n")[1])


def tables(card):
    """The tables of a page as a reader's program has them: lists of rows of the cells' texts."""
    found = []
    tokens = MarkdownIt("commonmark").enable("table").parse(ModelCard(card).text)
    for before, token in itertools.pairwise(tokens):
        if token.type == "table_open":
            found.append([])
        elif token.type == "tr_open":
            found[-1].append([])
        elif before.type in ("th_open", "td_open"):
            found[-1][-1].append("".join(part.content for part in token.children))
    return found


def blocks(card, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", card, re.M | re.S)


def labelled(make_label, size=60):
    data = keyword_data()
    return datasets.DatasetDict(
        {
            name: split.select(range(min(size, len(split))))
            .map(lambda row: {"y": make_label(row["text"])}, remove_columns="label")
            for name, split in data.items()
        }
    )  # fmt: skip


def topics(text):
    return [name for name, words in WORDS.items() if set(words) & set(text.split())]


@pytest.fixture(scope="module")
def card(trained_folder):
    return (trained_folder / "README.md").read_text(encoding="utf-8")


def test_training_writes_what_render_card_gives(trained_folder, card):
    assert card == render_card(trained_folder)
    assert card == render_card(str(trained_folder))


def test_card_is_for_the_repository_it_is_asked_for(trained_folder, card):
    other = render_card(trained_folder, "user/topics")
    assert "# user/topics\n" in other
    assert other.count('"user/topics", revision="main"') == 2
    assert ModelCard(other).data.model_name == "user/topics"
    name = trained_folder.name
    assert other.replace("user/topics", name).replace("'topics'", f"'{name}'") == card


def test_metadata_gives_the_scores_and_sizes_of_the_record(trained_folder, card):
    record = read_record(trained_folder)
    data = ModelCard(card).data
    assert {one.dataset_split for one in data.eval_results} == {"test"}
    scores = record["metrics"]["test"]
    # The Hub has no name for the calibration error.
    assert [one.metric_value for one in data.eval_results] == [
        scores["accuracy"],
        scores["macro_f1"],
    ]
    assert [one.metric_type for one in data.eval_results] == ["accuracy", "f1"]
    for one in data.eval_results:
        assert one.dataset_args == {"train_texts": 120, "validation_texts": 40, "test_texts": 40}
    assert (data.pipeline_tag, data.library_name) == ("text-classification", "transformers")
    assert "datasets" not in front_matter(card)


def test_tables_equal_the_record(trained_folder, card):
    record = read_record(trained_folder)
    results, labels, _, epochs = tables(card)
    for name, size, *scores in results[1:]:
        assert int(size) == record["data"]["texts"][name]
        both = zip(record["metrics"][name].values(), record["baseline"][name].values(), strict=True)
        assert scores == [f"{value:.4f}" for pair in both for value in pair]
    for row, one in zip(labels[1:], record["classes"]["test"], strict=True):
        assert row[:2] == [one["label"], str(one["texts"])]
        assert row[2:5] == [f"{one[name]:.4f}" for name in ("precision", "recall", "f1")]
    shown = {float(row[0]): row[1:] for row in epochs[1:]}
    assert {1.0, record["epochs"][-1]["epoch"], record["best_epoch"]} <= shown.keys()
    for one in record["epochs"]:
        if one["epoch"] in shown:
            keys = ("loss", "eval_loss", "eval_accuracy", "eval_macro_f1")
            assert shown[one["epoch"]][:4] == [f"{one[key]:.4f}" for key in keys]
    trace = read_training_trace(trained_folder)
    assert epochs[0][-2:] == ["attention entropy", "top word"]
    for one in trace.epochs:
        if one.epoch in shown:
            entropy, share = f"{one.attention_entropy:.2f}", f"{100 * one.attention_share:.1f} %"
            assert shown[one.epoch][4:] == [entropy, share]
    (said,) = [line for line in card.splitlines() if line.startswith("- What the epochs say: ")]
    for sentence in (*trace.summary, "Means over 40 validation texts"):
        assert sentence in said


def test_card_of_a_model_without_a_trace_has_the_other_columns(trained_folder, tmp_path, card):
    shutil.copytree(trained_folder, tmp_path / trained_folder.name)
    (tmp_path / trained_folder.name / "training_trace.json").unlink()
    without = render_card(tmp_path / trained_folder.name)
    assert "What the epochs say" not in without
    assert [row[:5] for row in tables(card)[3]] == tables(without)[3]


def test_words_of_the_labels_are_those_of_the_lexicon(trained_folder, card):
    model, tokenizer = load_classifier(str(trained_folder))
    lexicon = read_lexicon(model, tokenizer, read_token_counts(str(trained_folder)))
    for row, one in zip(tables(card)[1][1:], lexicon.showing(top=5).lists, strict=True):
        assert [word.split()[0] for word in row[-1].split(", ")] == [e.word for e in one.positive]


def test_decision_is_an_explanation_of_the_example(trained_folder, card):
    example = read_record(trained_folder)["example"]
    assert example["split"] == "validation"
    assert example["text"] in keyword_data()["validation"]["text"][:]
    reading = explain(example["text"], *load_classifier(str(trained_folder))).shown[0]
    words, contributions, effects = tables(card)[2]
    assert words[1:] == [word.text for word in reading.words]
    numbers = [(word.contribution, word.deletion_effect) for word in reading.words]
    shown = np.array([contributions[1:], effects[1:]], float).T
    np.testing.assert_allclose(shown, numbers, atol=6e-3)
    assert reading.check.startswith(re.search("^bias .*$", card, re.M)[0] + ", error")


@pytest.mark.parametrize("without_package", [False, True])
def test_code_runs_with_and_without_the_package(trained_folder, tmp_path, without_package):
    shutil.copytree(trained_folder, tmp_path / "model")
    block = blocks(render_card(tmp_path / "model"), "python")[without_package]
    code = f"import os; os.chdir({str(tmp_path)!r})\n{block}"
    printed = run_python(code, without_package=without_package)
    assert "'label': 'oil'" in printed or "'label': 'farm'" in printed
    assert ("tensor(" if without_package else "contri-") in printed


def test_command_trains_the_same_model_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    keyword_data()["train"].to_csv("my topics.csv", index=False)
    options = {**TINY, "language": "en,de", "license": "mit", "lr_scheduler_kwargs": {}}
    train("my topics.csv", tmp_path / "m", **options, lowercase=False, eval_strategy="epoch")
    (command,) = blocks((tmp_path / "m" / "README.md").read_text(), "text")
    assert command.startswith("hf-attn train 'my topics.csv' --output-dir m ")
    code = """
        import os, shlex, sys
        from hf_attn.cli import main
        os.rename("m", "first")
        sys.argv = shlex.split(sys.argv[1])
        main()
    """
    run_python(code, command)
    first, second = (json.loads(Path(name, "run.json").read_text()) for name in ("first", "m"))
    assert first["metrics"] == second["metrics"]
    assert first["settings"] == second["settings"]
    assert Path("first/model.safetensors").read_bytes() == Path("m/model.safetensors").read_bytes()


def test_data_in_memory_gets_a_call_in_the_place_of_a_command(trained_folder, card):
    (call,) = blocks(card, "text")
    assert call.startswith("hf_attn.train(data, 'model', hidden_size=8, head_dim=4, ")
    compile(call, "card", "eval")


def test_several_labels_and_a_validation_split_alone(tmp_path):
    data = labelled(topics)
    del data["test"]
    run = train(data, tmp_path / "m", **TINY)
    card = render_card(tmp_path / "m")
    assert "top_k=None" in card
    assert "so new texts may score lower" in card
    results = ModelCard(card).data.eval_results
    assert {one.dataset_split for one in results} == {"validation"}
    assert [one.metric_value for one in results] == list(
        run.record["metrics"]["validation"].values()
    )


def test_regression_has_words_that_raise_and_lower_the_value(tmp_path):
    train(labelled(lambda text: float(len(text)) / 10), tmp_path / "m", **TINY)
    card = render_card(tmp_path / "m")
    assert "A text regression with one attention head, 1 value " in card
    assert tables(card)[1][0] == ["value", "words that raise it most", "words that lower it most"]
    assert "calibrated" not in card
    assert [one.metric_type for one in ModelCard(card).data.eval_results] == [
        "pearsonr", "spearmanr", "mse",
    ]  # fmt: skip


def test_test_split_without_validation(tmp_path):
    data = keyword_data()
    del data["validation"]
    run = train(data, tmp_path / "m", **TINY, validation_size=0)
    assert list(run.record["metrics"]) == ["test"]
    card = render_card(tmp_path / "m")
    assert "| test |" in card
    assert "chose the epoch" not in card


def test_record_from_before_saves_were_pushed_gives_the_same_card(trained_folder, tmp_path):
    folder = shutil.copytree(trained_folder, tmp_path / trained_folder.name)
    record = json.loads((folder / "run.json").read_text())
    del record["is_finished"], record["epoch"]
    (folder / "run.json").write_text(json.dumps(record))
    assert render_card(folder) == render_card(trained_folder)


def test_pairs_and_no_split_but_train(tmp_path):
    rows = keyword_data()["train"].to_dict()
    train_split = datasets.Dataset.from_dict(
        {"sentence1": rows["text"], "sentence2": rows["text"][::-1], "label": rows["label"]}
    )
    train(train_split, tmp_path / "m", **TINY, validation_size=0.0)
    card = render_card(tmp_path / "m")
    assert 'classify({"text": "a text of yours", "text_pair": "a second text"})' in card
    assert "no texts were kept to measure it on" in card
    assert "model-index" not in front_matter(card)
    assert "The weights are those of the last epoch." in card
    block = f"import os; os.chdir({str(tmp_path)!r})\n" + blocks(card, "python")[0]
    assert "a second text" in run_python(block)


def saved_untrained(folder, names, **fields):
    tokenizer = HfAttnTokenizer.train_from_iterator(["oil prices rose | <b> `x` *y* $z$"])
    model = small_classifier(
        vocab_size=len(tokenizer), num_labels=len(names), id2label=dict(enumerate(names)),
        label2id={name: index for index, name in enumerate(names)}, **fields,
    ).float()  # fmt: skip
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model, tokenizer


ODD = ["no", "1.0", "a|b", "<script>alert(1)</script>", "two\nlines", "🛢️ oil", "*_`[x](y)`_*",
       "# h", "\\", "\\|", "$a$", "&lt;", "~~s~~", "---", "'\"", " "]  # fmt: skip


def test_model_without_a_record_says_what_is_not_known(tmp_path):
    saved_untrained(tmp_path / "plain", ODD)
    card = render_card(tmp_path / "plain")
    assert "the model has no `run.json`" in card
    assert "has no reference" not in card
    assert front_matter(card) == {
        "library_name": "transformers",
        "license": "unknown",
        "pipeline_tag": "text-classification",
        "tags": ["hf_attn", "attention", "explainability"],
    }
    assert len(card.splitlines()) < 80


def test_labels_are_shown_as_they_are_and_do_nothing(tmp_path):
    saved_untrained(tmp_path / "plain", ODD)
    card = render_card(tmp_path / "plain", "user/<i>|*x*")
    rows = tables(card)[0]
    assert {len(row) for row in rows} == {2}
    assert [row[0] for row in rows[1:]] == [name.replace("\n", "␊").strip() for name in ODD]
    html = MarkdownIt("commonmark").enable("table").render(ModelCard(card).text)
    text = html.split("<h2>Labels</h2>")[1].split("<h2>")[0]
    assert set(re.findall(r"<(\w+)", text)) == {"table", "thead", "tbody", "tr", "th", "td", "p",
                                                 "code"} - {"code"}  # fmt: skip
    assert "<h1>user/&lt;i&gt;|*x*</h1>" in html


@pytest.mark.parametrize("name", ["no", "1.0", "a: b", "- x", "🛢️", "'\"", "2020-01-01", "---\n---"])
def test_metadata_keeps_odd_names(trained_folder, name):
    model, tokenizer = load_classifier(str(trained_folder))
    record = read_record(trained_folder)
    record["data"] |= {"source": name, "kind": "hub"}
    record["settings"]["training"]["language"] = "no"
    data = ModelCard(make_card(model, tokenizer, RunFiles(record), name)).data
    assert data.model_name == name
    assert data.language == "no"
    assert data.datasets == [name]
    assert {one.dataset_name for one in data.eval_results} == {name}


def test_hub_data_set_and_model_are_named_in_the_metadata(trained_folder):
    model, tokenizer = load_classifier(str(trained_folder))
    record = read_record(trained_folder)
    record["data"] |= {"source": "user/tickets", "kind": "hub"}
    record["settings"]["data"] |= {"subset": "en", "revision": "v1"}
    record["settings"]["model"]["model"] = "user/base"
    data = ModelCard(make_card(model, tokenizer, RunFiles(record), "m")).data
    assert (data.datasets, data.base_model) == (["user/tickets"], "user/base")
    (result, _) = data.eval_results
    assert (result.dataset_type, result.dataset_config, result.dataset_revision) == (
        "user/tickets", "en", "v1",
    )  # fmt: skip


def test_many_labels_are_cut_to_those_with_the_most_texts(tmp_path):
    names = [f"label {number}" for number in range(736)]
    saved_untrained(tmp_path / "many", names)
    card = render_card(tmp_path / "many")
    assert len(tables(card)[0]) == 21
    assert "Left out: 716 of 736 labels, the last ones" in card
    assert "label 700" not in card


def test_weights_that_are_not_finite_give_a_card_without_words(trained_folder, caplog):
    model, tokenizer = load_classifier(str(trained_folder))
    model.score.bias.data.fill_(np.nan)
    record = read_record(trained_folder)
    record["metrics"]["test"]["macro_f1"] = float("nan")
    card = make_card(model, tokenizer, RunFiles(record), "m")
    assert "The model card goes without words" in caplog.text
    assert [one.metric_type for one in ModelCard(card).data.eval_results] == ["accuracy"]
    assert len(tables(card)) == 3


def test_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"there is no config\.json"):
        render_card(tmp_path)


def test_broken_record_is_refused(trained_folder, tmp_path):
    shutil.copytree(trained_folder, tmp_path / "m")
    (tmp_path / "m" / "run.json").write_text('{"data":')
    with pytest.raises(InputError, match="expected the record of a training run in JSON"):
        render_card(tmp_path / "m")


def test_nothing_private_is_published(tmp_path, monkeypatch):
    private = tmp_path / "alice"
    private.mkdir()
    data = keyword_data()
    for name in ("train", "validation"):
        data[name].to_csv(private / f"{name}.csv", index=False)
    monkeypatch.chdir(tmp_path)
    train(
        str(private / "train.csv"), private / "m", **TINY, validation="alice/validation.csv",
        hub_token=TOKEN, hub_model_id="bob/secret", run_name=str(private / "run"),
        accelerator_config={"split_batches": False},
    )  # fmt: skip
    for name in ("run.json", "README.md"):
        text = (private / "m" / name).read_text()
        for secret in (TOKEN, "alice", "bob", str(tmp_path)):
            assert secret not in text, (name, secret)
    record = read_record(private / "m")
    assert record["data"]["source"] == "train.csv"
    assert record["settings"]["data"]["validation"] == "validation.csv"


@pytest.mark.parametrize("separator", ["/", "~", ",", "|"])
def test_record_keeps_settings_that_only_look_like_paths(tmp_path, separator):
    data = keyword_data().map(lambda row: {"label": separator.join(["x", row["label"]])})
    run = train(data, tmp_path / "m", **TINY, label_separator=separator)
    assert run.record["settings"]["given"]["label_separator"] == separator


def test_example_can_be_given_and_left_out(tmp_path):
    run = train(keyword_data(), tmp_path / "given", **TINY, example="wheat or crude|oil")
    assert run.record["example"]["text"] == "wheat or crude|oil"
    card = (tmp_path / "given" / "README.md").read_text()
    assert "An example: “wheat or crude&#124;oil”." in card
    run = train(keyword_data(), tmp_path / "none", **TINY, example="")
    assert run.record["example"] is None
    card = (tmp_path / "none" / "README.md").read_text()
    assert "## A decision" not in card
    assert 'classify("a text of yours")' in card


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("license", "Apache 2.0"),
        ("language", "English"),
        ("language", "en, de"),
        ("language", False),
    ],
)
def test_metadata_that_the_hub_would_refuse_is_refused(tmp_path, setting, value):
    with pytest.raises(InputError, match=f"{setting} must be an identifier of the Hub"):
        train("r8", tmp_path / "m", **{setting: value})


def test_training_keeps_a_page_that_somebody_wrote(tmp_path, caplog):
    (tmp_path / "m").mkdir()
    page = tmp_path / "m" / "README.md"
    page.write_text("# mine\n")
    assert keeps_page(tmp_path / "m")
    train(keyword_data(), tmp_path / "m", **TINY)
    assert page.read_text() == "# mine\n"
    assert "hf-attn card" in caplog.text
    train(keyword_data(), tmp_path / "m", **TINY, overwrite=True)
    assert page.read_text() == render_card(tmp_path / "m")
    assert not keeps_page(tmp_path / "m")


def form(card):
    """A card without what a training decides: numbers, words, versions and the rows of tables."""
    text = re.sub(r"^\|.*\n", "|\n", card, flags=re.M)
    text = re.sub(r"“.*", "", re.sub(r"Versions: .*", "", text))
    text = re.sub(r"What the epochs say: .*? Attention entropy:", "", text)
    text = re.sub(r'"[a-z ]+"', '""', re.sub(r"^bias .*$", "bias", text, flags=re.M))
    return re.sub(r"N thread\b", "N threads", re.sub(r"-?\d[\d.,e+-]*", "N", text))


def test_page_of_the_project_is_the_card_of_the_model_that_it_describes(tmp_path):
    try:
        corpus_path("r8", "train")
    except InputError as error:
        pytest.skip(f"R8 cannot be had here: {error}")
    page = (ROOT / "model_card.md").read_text(encoding="utf-8")
    assert len(page.splitlines()) <= 120
    train("r8", tmp_path / "r8-model", language="en", license="apache-2.0")
    card = render_card(tmp_path / "r8-model")
    assert form(card) == form(page)
    for ours, theirs in zip(tables(card)[:2], tables(page)[:2], strict=True):
        assert [row[:2] for row in ours] == [row[:2] for row in theirs]


@pytest.fixture
def folded_card(folded_folder):
    return render_card(folded_folder)


def section(card, title):
    return re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", card, re.M | re.S)[1]


def int8_card(folded_folder, **folding):
    """The card of a model with tables in int8, whose record says this of its folding."""
    model, tokenizer = load_classifier(str(folded_folder))
    record = read_record(folded_folder)
    record["folding"] |= folding
    model.config.table_dtype = "int8"
    return make_card(model, tokenizer, RunFiles(record), "small")


def test_card_of_a_folded_model_says_what_it_is(folded_folder, folded_card, card):
    record, model = read_record(folded_folder), load_classifier(str(folded_folder))[0]
    tables = model.tables.state_dict()
    numbers = sum(tensor.numel() for tensor in tables.values())
    assert f"2 labels and {numbers:,} numbers in tables, folded from a model" in folded_card
    said, loss = section(folded_card, "Folding"), record["folding"]["loss"]
    pairs = model.config.ngram_buckets
    rows = f"{model.config.vocab_size:,} rows and of {pairs:,} for pairs of neighbours"
    assert f"tables of {rows} in `float32`, {4 * numbers:,} bytes" in said
    assert "On 1,000 texts (drawn words) the logits differ" in said
    assert f"by at most {loss['largest_logit_difference']:.1e}, and 0 texts get another" in said
    assert "cannot be trained further" in said
    assert "The scores are those of the model before it was folded." in folded_card
    assert "## Folding" not in card
    assert front_matter(folded_card)["tags"] == [*front_matter(card)["tags"], "folded"]


def test_commands_of_a_folded_card_train_fold_and_predict(folded_folder, trained_folder, card):
    folded_card = render_card(folded_folder, "user/topics-folded")
    predict, fold, train_again = blocks(folded_card, "text")
    assert predict == "hf-attn predict user/topics-folded 'a text of yours'\n"
    assert fold == f"hf-attn fold {trained_folder.name} topics-folded --table-dtype float32\n"
    assert [train_again] == blocks(card, "text")


def test_model_and_its_folded_form_have_the_same_words_and_decision(folded_card, card):
    for place in (0, 1, 2, -1):
        assert tables(folded_card)[place] == tables(card)[place]
    assert section(folded_card, "A decision, read") == section(card, "A decision, read")


@pytest.mark.parametrize("without_package", [False, True])
def test_code_of_a_folded_card_runs(folded_folder, tmp_path, without_package):
    shutil.copytree(folded_folder, tmp_path / "model")
    block = blocks(render_card(tmp_path / "model"), "python")[without_package]
    code = f"import os; os.chdir({str(tmp_path)!r})\n{block}"
    printed = run_python(code, without_package=without_package)
    assert "'label': 'oil'" in printed or "'label': 'farm'" in printed
    assert ("tensor(" if without_package else "contri-") in printed


def test_scores_of_smaller_tables_are_those_that_folding_measured(folded_folder):
    assert ModelCard(render_card(folded_folder)).data.eval_results
    metrics = {"before": {"accuracy": 1.0, "macro_f1": 0.5}, "after": {"accuracy": 0.75,
               "macro_f1": 0.25}}  # fmt: skip
    loss = {"texts": 4, "source": "user/tickets", "largest_logit_difference": 0.01,
            "changed_labels": 1, "metrics": metrics}  # fmt: skip
    without = int8_card(folded_folder)
    assert "model-index" not in front_matter(without)
    scored = int8_card(folded_folder, loss=loss)
    data = ModelCard(scored).data
    assert [one.metric_value for one in data.eval_results] == [0.75, 0.25]
    assert {one.dataset_name for one in data.eval_results} == {"user/tickets"}
    assert tables(scored)[1] == [
        ["", "Accuracy", "Macro-F1"], ["before", "1.0000", "0.5000"], ["after", "0.7500", "0.2500"],
    ]  # fmt: skip
    assert "On 4 texts (user/tickets)" in scored
    assert "at most 1.0e-02, and 1 text gets another label." in scored


@pytest.mark.parametrize("window", [None, 2])
def test_scores_of_another_window_are_not_those_of_training(trained_folder, tmp_path, window):
    fold_folder(str(trained_folder), tmp_path / "folded", attention_window=window)
    card = render_card(tmp_path / "folded")
    said = "A token sees 2 others to either side, as it did not in training"
    assert (said in card) == (window is not None)
    assert ("model-index" in front_matter(card)) == (window is None)
    assert ("--table-dtype float32 --attention-window 2\n" in card) == (window is not None)


def test_model_that_was_folded_is_the_base_if_it_is_on_the_hub(folded_folder):
    data = ModelCard(int8_card(folded_folder, **{"from": "user/base"})).data
    assert (data.base_model, data["base_model_relation"]) == ("user/base", "quantized")
    local = ModelCard(render_card(folded_folder)).data
    assert (local.base_model, local.get("base_model_relation")) == (None, None)


@pytest.mark.parametrize("record", ["none", "without-folding", "without-loss"])
def test_card_of_a_folded_model_goes_without_what_is_not_known(folded_folder, record):
    model, tokenizer = load_classifier(str(folded_folder))
    known = None if record == "none" else read_record(folded_folder)
    if record == "without-folding":
        del known["folding"]
    if record == "without-loss":
        known["folding"] = {"table_dtype": "float32", "from": None}
    folded_card = make_card(model, tokenizer, RunFiles(known), "m")
    assert "What folding changed was not measured." in folded_card
    assert "hf-attn fold unfolded m --table-dtype float32\n" in folded_card


def test_folded_regression_and_pairs_have_a_card(tmp_path):
    rows = keyword_data()["train"].to_dict()
    values = {"sentence1": rows["text"], "sentence2": rows["text"][::-1],
              "label": [float(len(text)) for text in rows["text"]]}  # fmt: skip
    train(datasets.Dataset.from_dict(values), tmp_path / "m", **TINY, validation_size=0.0)
    fold_folder(str(tmp_path / "m"), tmp_path / "folded")
    card = render_card(tmp_path / "folded")
    assert "hf-attn predict folded 'a text of yours' --text-pair 'a second text'\n" in card
    assert re.search(r"the logits differ .* by at most \d\.\de-\d\d\.\n", card)
