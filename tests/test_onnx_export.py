"""ONNX export: the same numbers as torch's, nothing of this machine in it, and a script to run."""

import ast
import json
import logging
import shutil
import subprocess
import sys
from pathlib import Path

import onnx
import onnxruntime
import pytest
import torch
from models import VARIANTS, masked_batch, small_classifier, variant_name
from trained import keyword_texts

from hf_attn import (
    HfAttnConfig,
    HfAttnTokenizer,
    cli,
    explain,
    export_onnx,
    fold,
    onnx_export,
    onnx_folder,
)
from hf_attn.errors import InputError
from hf_attn.fold_folder import fold_folder
from hf_attn.loading import load_classifier
from hf_attn.onnx_folder import compare, export_folder, random_texts

SCRIPT = Path(__file__).parents[1] / "scripts" / "classify_with_onnx.py"
PLAIN, RICHEST, WINDOW = VARIANTS[0], VARIANTS[7], VARIANTS[9]
TEXTS = [
    "wheat, corn and 3.14 barrels of crude",
    "",
    "opec!",
    "Nothing-known \u00e9 \U0001f600 here",
]


def classifier(**fields):
    """A model with a reference, as training leaves it."""
    model = small_classifier(dtype=torch.float32, **fields)
    model.set_reference(torch.linspace(-0.5, 0.5, 8))
    return model


MODELS = {
    **{variant_name(one): (one, None) for one in (PLAIN, RICHEST, WINDOW)},
    **{f"folded-{dtype}": (RICHEST, dtype) for dtype in ("float32", "float16", "int8")},
    "folded-window": (WINDOW, "float32"),
    "folded-more-classes-than-features": (VARIANTS[1] | {"num_labels": 11}, "float32"),
}


@pytest.fixture(scope="module", params=MODELS, ids=str)
def exported(request, tmp_path_factory):
    """A model and the file it was exported to."""
    fields, table_dtype = MODELS[request.param]
    model = classifier(**fields)
    if table_dtype is not None:
        model = fold(model, table_dtype=table_dtype)
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    export_onnx(model, path)
    return model, path


def run_onnx(path, batch):
    session = onnxruntime.InferenceSession(path)
    names = [output.name for output in session.get_outputs()]
    inputs = {name: tensor.numpy() for name, tensor in batch.items()}
    return dict(zip(names, map(torch.from_numpy, session.run(None, inputs)), strict=True))


def run_torch(model, batch):
    with torch.inference_mode():
        outputs = model(**batch, output_contributions=True)
    return {name: outputs[name] for name in ("logits", "contributions", "bias")}


def assert_same(actual, expected):
    assert list(actual) == list(expected)
    for name in expected:
        torch.testing.assert_close(actual[name], expected[name], rtol=0, atol=1e-5, msg=name)


# The graph


@pytest.mark.parametrize("length", [0, 1, 2, 30])
@pytest.mark.parametrize("batch_size", [1, 5])
def test_outputs_are_those_of_torch_whatever_is_masked(exported, batch_size, length):
    """Texts that are whole, padded on either side, with holes, and empty."""
    model, path = exported
    batch = masked_batch(length)
    for start in range(0, 5, batch_size):
        part = {name: tensor[start : start + batch_size] for name, tensor in batch.items()}
        assert_same(run_onnx(path, part), run_torch(model, part))


def test_long_text_gives_what_torch_gives(exported):
    model, path = exported
    batch = {name: tensor[1:3] for name, tensor in masked_batch(2000).items()}
    assert_same(run_onnx(path, batch), run_torch(model, batch))


def test_logits_are_bias_and_contributions(exported):
    outputs = run_onnx(exported[1], masked_batch())
    total = outputs["bias"] + outputs["contributions"].sum(1)
    torch.testing.assert_close(total, outputs["logits"], rtol=0, atol=1e-5)
    torch.testing.assert_close(outputs["logits"][-1], outputs["bias"], rtol=0, atol=1e-6)


@pytest.mark.parametrize("table_dtype", [None, "float16", "int8"])
def test_file_is_as_large_as_the_weights(table_dtype, tmp_path):
    model = classifier(vocab_size=20_000, **RICHEST)
    if table_dtype is not None:
        model = fold(model, table_dtype=table_dtype)
    export_onnx(model, tmp_path / "model.onnx")
    weights = sum(tensor.nbytes for tensor in model.state_dict().values())
    assert weights < (tmp_path / "model.onnx").stat().st_size < weights + 20_000


def test_metadata_say_classes_and_task_and_nothing_of_the_machine(tmp_path):
    names = {0: "Öl", 1: 'a "quoted" name', 2: "farm"}
    model = classifier(id2label=names, problem_type="multi_label_classification")
    export_onnx(model, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    about = session.get_modelmeta().custom_metadata_map
    assert json.loads(about.pop("class_names")) == list(names.values())
    assert about == {"problem_type": "multi_label_classification"}
    content = (tmp_path / "model.onnx").read_bytes()
    for trace in (b".py", b"hf_attn.", str(Path.home()).encode(), b"site-packages"):
        assert trace not in content


def test_metadata_have_thresholds_of_several_labels(tmp_path):
    model = classifier(
        num_labels=2, problem_type="multi_label_classification", label_thresholds=[0.25, 0.75]
    )
    export_onnx(fold(model), tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    about = session.get_modelmeta().custom_metadata_map
    assert json.loads(about["label_thresholds"]) == [0.25, 0.75]


def test_file_is_valid_onnx_with_any_batch_and_length(exported):
    graph = onnx.load(exported[1])
    onnx.checker.check_model(graph, full_check=True)
    inputs = {one.name: one.type.tensor_type for one in graph.graph.input}
    assert list(inputs) == ["input_ids", "attention_mask"]
    for tensor in inputs.values():
        assert tensor.elem_type == onnx.TensorProto.INT64
        assert all(axis.dim_param and not axis.dim_value for axis in tensor.shape.dim)


def test_model_in_training_and_another_precision_stays_as_it_is(tmp_path):
    model = small_classifier(dtype=torch.bfloat16, embedding_dropout=0.5, **RICHEST).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    export_onnx(model, tmp_path / "model.onnx")
    assert model.training
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    batch = masked_batch()
    assert_same(run_onnx(tmp_path / "model.onnx", batch), run_torch(model.eval().float(), batch))


def test_weights_that_torchao_made_int8_give_what_they_give_in_torch(tmp_path):
    quantization = pytest.importorskip(
        "torchao.quantization", reason="needs the extra hf-attn[int8]"
    )
    model = classifier(hidden_size=8, **RICHEST)
    before = run_torch(model, masked_batch())
    quantization.quantize_(model, quantization.Int8WeightOnlyConfig())
    expected = run_torch(model, masked_batch())
    assert (expected["logits"] - before["logits"]).abs().max() > 1e-3
    export_onnx(model, tmp_path / "model.onnx")
    assert_same(run_onnx(tmp_path / "model.onnx", masked_batch()), expected)


def test_export_says_nothing_and_leaves_the_loggers_as_they_were(tmp_path, capfd):
    logging.getLogger("torch.onnx").setLevel(logging.INFO)
    export_onnx(classifier(), tmp_path / "model.onnx")
    assert logging.getLogger("torch.onnx").level == logging.INFO
    assert tuple(capfd.readouterr()) == ("", "")


# What is refused


def test_another_model_is_refused(tmp_path):
    with pytest.raises(TypeError, match=r"got torch\.nn\.modules\.linear\.Linear\. Load one with"):
        export_onnx(torch.nn.Linear(2, 2), tmp_path / "model.onnx")


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_missing_package_says_what_to_type(package, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=r"Type: pip install 'hf-attn\[onnx\]'"):
        export_onnx(classifier(), tmp_path / "model.onnx")


def test_weights_beyond_one_file_are_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(onnx_export, "MOST_BYTES", 1000)
    with pytest.raises(InputError, match=r"at most 1,000 bytes, .* got 2,\d+\. Fold the model"):
        export_onnx(classifier(), tmp_path / "model.onnx")


def test_file_in_no_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="expected a file in a folder that exists"):
        export_onnx(classifier(), tmp_path / "none" / "model.onnx")


def test_export_that_fails_leaves_the_older_file(monkeypatch, tmp_path):
    (tmp_path / "model.onnx").write_text("older")
    monkeypatch.setattr("pathlib.Path.write_bytes", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export_onnx(classifier(), tmp_path / "model.onnx")
    assert [file.read_text() for file in tmp_path.iterdir()] == ["older"]


# The folder


@pytest.fixture(scope="module")
def oil_and_farm(trained_folder):
    return load_classifier(str(trained_folder))


@pytest.fixture(scope="module")
def folder(oil_and_farm, tmp_path_factory):
    """A folder with an export, compared on 1,000 texts; tests that change it copy it first."""
    folder = tmp_path_factory.mktemp("exported") / "model"
    result = export_folder(*oil_and_farm, folder, texts=keyword_texts(1000, seed=3)["text"])
    assert (result.num_texts, result.same_labels) == (1000, 1000)
    assert max(result.logit_difference, result.contribution_difference) < 1e-5
    return folder


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs the command in this process and gives its exit code, output and errors."""

    def run_command(*arguments):
        monkeypatch.setattr(sys, "argv", ["hf-attn", *map(str, arguments)])
        code = 0
        try:
            cli.main()
        except SystemExit as exit_:
            code = exit_.code or 0
        return code, *capsys.readouterr()

    return run_command


def test_command_writes_three_files_and_prints_how_near_they_are(run, trained_folder, tmp_path):
    code, printed, _ = run("export", trained_folder, tmp_path / "out")
    assert code == 0
    assert "the same label for 1,000 of 1,000 texts; logits differ by at most" in printed
    files = {file.name: file.stat().st_size for file in (tmp_path / "out").iterdir()}
    assert files.keys() == {"model.onnx", "config.json", "tokenizer.json"}
    assert all(f"{name} ({size:,} bytes)" in printed for name, size in files.items())
    config = HfAttnConfig.from_pretrained(tmp_path / "out")
    assert config.class_names == ["farm", "oil"]
    assert not hasattr(config, "auto_map")


def test_command_replaces_an_older_export_only_when_told_to(run, trained_folder, folder, tmp_path):
    older = shutil.copytree(folder, tmp_path / "older")
    (older / "notes.txt").write_text("mine")
    (older / "model.onnx").write_text("older")
    code, _, errors = run("export", trained_folder, older)
    assert (code, (older / "model.onnx").read_text()) == (2, "older")
    assert "got one with an older export" in errors
    assert "replace it with --overwrite" in errors
    assert run("export", trained_folder, older, "--overwrite")[0] == 0
    assert (older / "model.onnx").read_bytes() == (folder / "model.onnx").read_bytes()
    assert (older / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"model.safetensors": ""}, "got one with a model, whose files would be mixed up"),
        ({"pytorch_model.bin": ""}, "got one with a model, whose files would be mixed up"),
        ({"config.json": '{"model_type": "bert"}'}, "got one with a model, whose files"),
        ({"adapter_config.json": "{}"}, "got one with a model, whose files"),
        ({"model.onnx": ""}, "a model.onnx of another model, which would be lost"),
        ({"model.onnx": "", "config.json": '{"model_type": "bert"}'}, "would be lost"),
        ({"model.onnx": "", "config.json": "{"}, "would be lost"),
    ],
)
def test_folder_of_another_model_is_refused_and_left(run, trained_folder, tmp_path, files, message):
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    code, _, errors = run("export", trained_folder, tmp_path, "--overwrite")
    assert code == 2
    assert message in errors
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == files


def test_file_in_place_of_the_folder_is_refused(run, trained_folder, tmp_path):
    (tmp_path / "out").write_text("mine")
    code, _, errors = run("export", trained_folder, tmp_path / "out")
    assert code == 2
    assert "out: expected a folder to export to, got a file." in errors


def test_model_that_is_missing_or_of_another_type_is_named(run, tmp_path):
    code, _, errors = run("export", tmp_path / "none", tmp_path / "out")
    assert code == 2
    assert "none" in errors
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    code, _, errors = run("export", tmp_path, tmp_path / "out")
    assert code == 2
    assert "expected a model of type" in errors
    assert not (tmp_path / "out").exists()


def test_adapter_is_exported_merged(run, trained_folder, tmp_path):
    peft = pytest.importorskip("peft", reason="needs the extra hf-attn[lora]")
    model, tokenizer = load_classifier(str(trained_folder))
    inputs = dict(tokenizer("wheat and crude", return_tensors="pt"))
    batch = {name: inputs[name] for name in onnx_export.INPUTS}
    before = run_torch(model, batch)["logits"]
    config = peft.LoraConfig(task_type="SEQ_CLS", target_modules=["v_proj"], r=2)
    adapted = peft.get_peft_model(model, config).eval()
    with torch.no_grad():
        for parameter in adapted.parameters():
            parameter.add_(0.5 * parameter.requires_grad)
    adapted.save_pretrained(tmp_path / "adapter")
    assert run("export", tmp_path / "adapter", tmp_path / "out")[0] == 0
    logits = run_onnx(tmp_path / "out" / "model.onnx", batch)["logits"]
    torch.testing.assert_close(logits, adapted(**batch).logits, rtol=0, atol=1e-5)
    assert (logits - before).abs().max() > 1e-2


def test_folded_folder_is_exported_as_it_is(run, trained_folder, tmp_path):
    fold_folder(str(trained_folder), tmp_path / "folded", table_dtype="int8")
    code, printed, _ = run("export", tmp_path / "folded", tmp_path / "out")
    assert code == 0
    assert "for 1,000 of 1,000 texts" in printed
    tables = onnx.load(tmp_path / "out" / "model.onnx").graph.initializer
    assert {table.data_type for table in tables} >= {onnx.TensorProto.INT8}
    assert json.loads((tmp_path / "out" / "config.json").read_text())["model_type"] == (
        "hf_attn_folded"
    )


def test_random_texts_are_of_every_length_and_the_same_each_time(oil_and_farm):
    tokenizer = oil_and_farm[1]
    texts = random_texts(tokenizer)
    lengths = [len(ids) for ids in tokenizer(texts)["input_ids"]]
    assert lengths[:3] == [0, 1, 2000]
    assert set(lengths[3:]) == set(range(1, 60))
    assert not any("[" in text for text in texts)
    assert random_texts(tokenizer) == texts


def test_graph_of_other_numbers_is_found_and_nothing_written(oil_and_farm, tmp_path, monkeypatch):
    def export_another(model, path):
        with torch.no_grad():
            model = onnx_export.portable_copy(model)
            model.score.bias[0] += 1e-3
        export_onnx(model, path)

    monkeypatch.setattr(onnx_folder, "export_onnx", export_another)
    with pytest.raises(InputError, match=r"got differences up to 1\.0e-03 with logits up to"):
        export_folder(*oil_and_farm, tmp_path / "out", texts=TEXTS)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("algorithm", "got"), [("word", "differences up to"), ("bpe", r"\(1, 5, 2\) for \(1, 1, 2\)")]
)
def test_tokenizer_that_reads_otherwise_is_found(algorithm, got, oil_and_farm, folder, tmp_path):
    out = shutil.copytree(folder, tmp_path / "out")
    other = HfAttnTokenizer.train_from_iterator(["wheat"], algorithm=algorithm, vocab_size=12)
    other.backend_tokenizer.save(str(out / "tokenizer.json"))
    with pytest.raises(InputError, match=f"to give what the model gives, got {got}"):
        compare(out, *oil_and_farm, ["wheat"])


def test_broken_weights_and_a_tokenizer_of_another_model_are_refused(oil_and_farm, tmp_path):
    model, tokenizer = onnx_export.portable_copy(oil_and_farm[0]), oil_and_farm[1]
    larger = HfAttnTokenizer.train_from_iterator([" ".join(map(str, range(100)))])
    with pytest.raises(InputError, match="at most vocab_size=15 tokens, got one of 103"):
        export_folder(model, larger, tmp_path / "out")
    with torch.no_grad():
        model.score.bias[0] = torch.nan
    with pytest.raises(InputError, match="expected logits that are numbers, got NaN"):
        export_folder(model, tokenizer, tmp_path / "out")


# The script


def classify(folder, *texts, stdin=None):
    """Gives what the script answers, where neither torch nor transformers can be imported."""
    code = (
        "import runpy, sys\n"
        "sys.modules.update(dict.fromkeys(['torch', 'transformers', 'hf_attn', 'onnx']))\n"
        "sys.argv = sys.argv[1:]\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    process = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, SCRIPT, folder, *texts],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    return [json.loads(line) for line in process.stdout.splitlines()]


def assert_answers(answers, explanations):
    for answer, explanation in zip(answers, explanations, strict=True):
        (reading,) = (one for one in explanation.readings if one.target == explanation.label)
        assert answer["label"] == explanation.label
        assert answer["score"] == pytest.approx(explanation.probability, abs=1e-4)
        assert answer["bias"] == pytest.approx(reading.bias, abs=1e-4)
        assert [word for word, _ in answer["words"]] == [word.text for word in reading.words]
        for (_, added), word in zip(answer["words"], reading.words, strict=True):
            assert added == pytest.approx(word.contribution, abs=1e-4)


@pytest.mark.parametrize("algorithm", ["word", "unigram"])
def test_script_answers_and_explains_as_the_package_does(algorithm, tmp_path):
    tokenizer = HfAttnTokenizer.train_from_iterator(
        [*keyword_texts(60)["text"], *TEXTS], algorithm=algorithm, vocab_size=60
    )
    model = classifier(vocab_size=60, **RICHEST)
    export_folder(model, tokenizer, tmp_path, texts=TEXTS)
    assert_answers(classify(tmp_path, *TEXTS), explain(TEXTS, model, tokenizer))


@pytest.mark.parametrize(
    ("task", "num_labels"), [("multi_label_classification", 3), ("regression", 1)]
)
def test_script_reads_logits_as_the_task_has_them(task, num_labels, tmp_path, oil_and_farm):
    tokenizer = oil_and_farm[1]
    fields = {"vocab_size": len(tokenizer), "num_labels": num_labels, "problem_type": task}
    model = classifier(**RICHEST, **fields)
    export_folder(fold(model), tokenizer, tmp_path, texts=TEXTS)
    assert_answers(classify(tmp_path, *TEXTS), explain(TEXTS, model, tokenizer))


def test_script_cuts_texts_where_the_tokenizer_does(tmp_path):
    tokenizer = HfAttnTokenizer.train_from_iterator(TEXTS, algorithm="bpe", model_max_length=3)
    tokenizer.truncation_side = "left"
    model = classifier(vocab_size=len(tokenizer), **RICHEST)
    export_folder(model, tokenizer, tmp_path, texts=TEXTS)
    answers = classify(tmp_path, *TEXTS)
    assert_answers(answers, explain(TEXTS, model, tokenizer))
    assert [word for word, _ in answers[0]["words"]] == ["barrels", "of", "crude"]


def test_script_reads_standard_input_and_is_sure_without_warnings(oil_and_farm, tmp_path):
    model = onnx_export.portable_copy(oil_and_farm[0])
    with torch.no_grad():
        model.score.bias[0] += 300
    export_folder(model, oil_and_farm[1], tmp_path, texts=TEXTS)
    answers = classify(tmp_path, stdin="crude oil\n\nwheat\n")
    assert [answer["score"] for answer in answers] == [1, 1, 1]
    assert [len(answer["words"]) for answer in answers] == [2, 0, 1]


def test_script_without_a_folder_says_how_to_call_it():
    process = subprocess.run([sys.executable, SCRIPT], capture_output=True, text=True, check=False)
    assert process.returncode == 1
    assert "python classify_with_onnx.py FOLDER" in process.stderr


def test_script_is_short_and_needs_only_onnxruntime_and_tokenizers():
    code = SCRIPT.read_text(encoding="utf-8")
    assert len(code.splitlines()) <= 40
    modules = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules.add(node.module)
    assert modules - set(sys.stdlib_module_names) == {"numpy", "onnxruntime", "tokenizers"}
