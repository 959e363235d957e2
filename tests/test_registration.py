import json

import pytest
import torch
from models import masked_batch, small_classifier
from processes import run_python
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoModelForSequenceClassification

from hf_attn import HfAttnForSequenceClassification, HfAttnTokenizer, fold

TEXTS = ["oil prices rose", "the bank cut rates", "wheat and oil exports fell"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A saved classifier and its tokenizer, and what they answer here."""
    path = tmp_path_factory.mktemp("model")
    tokenizer = HfAttnTokenizer.train_from_iterator(TEXTS)
    model = small_classifier(
        dtype=torch.float32, vocab_size=len(tokenizer), id2label={0: "a", 1: "b", 2: "c"}
    )
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    inputs = tokenizer(TEXTS, padding=True, return_tensors="pt")
    outputs = model(**inputs, output_contributions=True)
    save_file(
        {
            "logits": outputs.logits.detach().clone(),
            "pooled": model.model(**inputs).pooler_output.detach().clone(),
            "contributions": outputs.contributions.detach().clone(),
            "empty": model.score.bias.detach().clone(),
        },
        path / "expected.safetensors",
    )
    (path / "texts.json").write_text(json.dumps(TEXTS))
    return path


@pytest.fixture(scope="module")
def folded_folder(folder, tmp_path_factory):
    """The classifier of `folder`, folded into each type of table, and what each answers here."""
    path = tmp_path_factory.mktemp("folded")
    tokenizer = HfAttnTokenizer.from_pretrained(folder)
    inputs = tokenizer(TEXTS, padding=True, return_tensors="pt")
    for table_dtype in ("float32", "float16", "int8"):
        folded = fold(
            HfAttnForSequenceClassification.from_pretrained(folder), table_dtype=table_dtype
        )
        folded.save_pretrained(path / table_dtype)
        tokenizer.save_pretrained(path / table_dtype)
        outputs = folded(**inputs, output_contributions=True)
        answers = {name: outputs[name].clone() for name in ("logits", "contributions")}
        save_file(answers, path / table_dtype / "expected.safetensors")
    return path


LOAD_AND_COMPARE = """
    import json, sys, torch
    from pathlib import Path
    from safetensors.torch import load_file
    {imports}

    folder = Path(sys.argv[1])
    expected = load_file(folder / "expected.safetensors")
    config = transformers.AutoConfig.from_pretrained(folder, **{trust})
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder, **{trust})
    base = transformers.AutoModel.from_pretrained(folder, **{trust})
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **{trust})
    inputs = tokenizer(
        json.loads((folder / "texts.json").read_text()), padding=True, return_tensors="pt"
    )
    outputs = model(**inputs, output_contributions=True)
    assert torch.equal(outputs.logits, expected["logits"])
    assert torch.equal(outputs.contributions, expected["contributions"])
    torch.testing.assert_close(
        base(**inputs).pooler_output, expected["pooled"], rtol=0, atol=1e-6
    )
    assert [type(part).__name__ for part in (config, model, base, tokenizer)] == [
        "HfAttnConfig", "HfAttnForSequenceClassification", "HfAttnModel", "HfAttnTokenizer"
    ]
    for folder in sorted(Path(sys.argv[2]).iterdir()):
        expected = load_file(folder / "expected.safetensors")
        config = transformers.AutoConfig.from_pretrained(folder, **{trust})
        folded = transformers.AutoModelForSequenceClassification.from_pretrained(folder, **{trust})
        outputs = folded(**inputs, output_contributions=True)
        assert torch.equal(outputs.logits, expected["logits"])
        assert torch.equal(outputs.contributions, expected["contributions"])
        classify = transformers.pipeline("text-classification", str(folder), **{trust})
        assert classify("oil prices rose")[0]["label"] == "abc"[outputs.logits[0].argmax()]
        assert (type(config).__name__, config.table_dtype) == ("HfAttnFoldedConfig", folder.name)
        assert type(folded).__name__ == "HfAttnFoldedForSequenceClassification"
        modules = [type(part).__module__.split(".")[0] for part in (config, folded, model)]
        assert len(set(modules)) == 1, modules
    print(type(model).__module__)
"""


@pytest.mark.parametrize(
    "imports",
    [
        "import hf_attn, transformers",
        "import transformers, hf_attn",
        "import transformers; transformers.AutoConfig; import hf_attn",
        "import transformers; transformers.AutoTokenizer; import hf_attn",
        "import hf_attn, transformers; transformers.AutoTokenizer",
        "import transformers; transformers.AutoModel; import hf_attn.modeling_hf_attn",
        "from hf_attn import HfAttnTokenizer; import transformers",
        "import hf_attn, transformers.modeling_layers",
        "import hf_attn, transformers; from transformers import BertModel",
        "import hf_attn, transformers; from transformers.models.t5 import modeling_t5",
    ],
)
def test_auto_classes_load_whatever_is_imported_first(imports, folder, folded_folder):
    code = LOAD_AND_COMPARE.replace("{imports}", imports).replace("{trust}", "{}")
    assert run_python(code, folder, folded_folder) == "hf_attn.modeling_hf_attn\n"


def test_copied_code_saves_folded_models_again(folded_folder, tmp_path):
    run_python(
        """
        import sys
        from transformers import AutoModelForSequenceClassification
        model = AutoModelForSequenceClassification.from_pretrained(
            sys.argv[1], trust_remote_code=True
        )
        model.save_pretrained(sys.argv[2])
        """,
        folded_folder / "int8",
        tmp_path,
        without_package=True,
    )
    for name in ("config.json", "model.safetensors", "modeling_hf_attn.py"):
        saved = (tmp_path / name).read_bytes()
        assert saved == (folded_folder / "int8" / name).read_bytes(), name


def test_importing_the_package_imports_neither_transformers_nor_torch():
    printed = run_python("""
        import sys
        import hf_attn
        print(sorted({"transformers", "torch", "datasets", "numpy"} & set(sys.modules)))
    """)
    assert printed == "[]\n"


def test_auto_config_alone_is_registered_without_models():
    printed = run_python("""
        import sys
        import hf_attn
        from transformers import AutoConfig
        for name in ("hf_attn", "hf_attn_folded"):
            print(AutoConfig.for_model(name).model_type, "hf_attn.modeling_hf_attn" in sys.modules)
    """)
    assert printed == "hf_attn False\nhf_attn_folded False\n"


def test_package_names_are_listed_and_resolve():
    printed = run_python("""
        import hf_attn
        assert set(hf_attn.__all__) == set(dir(hf_attn))
        for name in hf_attn.__all__:
            getattr(hf_attn, name)
        try:
            hf_attn.HfAttnConfg
        except AttributeError as error:
            print(error)
    """)
    assert printed == "module 'hf_attn' has no attribute 'HfAttnConfg'\n"


def test_pipeline_answers_in_a_fresh_process(folder):
    printed = run_python(
        """
        import json, sys, torch
        from pathlib import Path
        import hf_attn
        from safetensors.torch import load_file
        from transformers import pipeline

        folder = Path(sys.argv[1])
        expected = load_file(folder / "expected.safetensors")
        classify = pipeline("text-classification", model=str(folder), top_k=None)
        texts = json.loads((folder / "texts.json").read_text())
        texts.append("")
        answers = [*classify(texts), *classify(texts, batch_size=4), *classify("")]
        rows = torch.cat([expected["logits"], expected["empty"][None]])
        rows = torch.cat([rows, rows, expected["empty"][None]])
        for answer, row in zip(answers, rows.softmax(-1), strict=True):
            scores = {part["label"]: part["score"] for part in answer}
            for label, score in zip("abc", row.tolist(), strict=True):
                assert abs(scores[label] - score) < 1e-6, (scores, row)
        print("answered")
        """,
        folder,
    )
    assert printed.endswith("answered\n")


@pytest.mark.parametrize(
    "imports",
    [
        "import hf_attn, transformers",
        "import transformers, hf_attn",
        "from transformers import pipeline; import hf_attn",
        "import transformers.pipelines; import hf_attn",
        "import transformers.pipelines; import hf_attn.modeling_hf_attn",
        "import hf_attn.explanation_pipeline",
        "import hf_attn.explainer",
        "from hf_attn import HfAttnTokenizer; import transformers",
        "import hf_attn, transformers.modeling_layers",
        "import hf_attn, transformers; from transformers import BertModel",
        "import hf_attn, transformers; from transformers.models.t5 import modeling_t5",
    ],
)
def test_explained_classification_is_a_task_whatever_is_imported_first(imports, folder):
    code = """
        import sys
        {imports}
        from transformers import pipeline
        from transformers.pipelines import PIPELINE_REGISTRY

        tasks = PIPELINE_REGISTRY.get_supported_tasks()
        assert tasks.count("explained-text-classification") == 1
        explained = pipeline("explained-text-classification", model=sys.argv[1], device="cpu")
        (answer,) = explained(["oil prices rose"], batch_size=2)
        hf_attn = sys.modules["hf_attn"]
        expected = hf_attn.explain("oil prices rose", explained.model, explained.tokenizer)
        assert answer["score"] == expected.probability
        contributions = [word["contribution"] for word in answer["words"]]
        assert contributions == [word.contribution for word in expected.words]
        print(type(explained).__name__)
        from transformers import TextClassificationPipeline
        usual = pipeline("text-classification", model=sys.argv[1], device="cpu")
        assert type(usual) is TextClassificationPipeline
    """
    assert run_python(code.replace("{imports}", imports), folder) == "ExplanationPipeline\n"


def test_pipelines_load_without_the_modules_that_explain():
    printed = run_python("""
        import sys
        import hf_attn
        import transformers.pipelines
        print([name for name in ("explainer", "explanation", "deletion")
               if f"hf_attn.{name}" in sys.modules])
    """)
    assert printed == "[]\n"


def test_saving_copies_the_three_files_the_hub_runs(folder):
    assert {path.name for path in folder.glob("*.py")} == {
        "configuration_hf_attn.py",
        "modeling_hf_attn.py",
        "tokenization_hf_attn.py",
    }


def test_copied_code_loads_without_the_package(folder, folded_folder):
    code = LOAD_AND_COMPARE.replace("{trust}", "{'trust_remote_code': True}")
    printed = run_python(
        code.replace("{imports}", "import transformers"),
        folder,
        folded_folder,
        without_package=True,
    )
    assert printed.startswith("transformers_modules.")


def test_copied_code_needs_trust_without_the_package(folder):
    printed = run_python(
        """
        import sys
        from transformers import AutoConfig
        try:
            AutoConfig.from_pretrained(sys.argv[1], trust_remote_code=False)
        except ValueError as error:
            print(error)
        """,
        folder,
        without_package=True,
    )
    assert "trust_remote_code=True" in printed


def test_copied_code_saves_itself_again(folder, tmp_path):
    run_python(
        """
        import sys
        from transformers import AutoModelForSequenceClassification, AutoTokenizer
        for auto in (AutoModelForSequenceClassification, AutoTokenizer):
            part = auto.from_pretrained(sys.argv[1], trust_remote_code=True)
            part.save_pretrained(sys.argv[2])
        """,
        folder,
        tmp_path,
        without_package=True,
    )
    saved = HfAttnForSequenceClassification.from_pretrained(tmp_path)
    expected = load_file(folder / "expected.safetensors")
    inputs = HfAttnTokenizer.from_pretrained(tmp_path)(TEXTS, padding=True, return_tensors="pt")
    assert torch.equal(saved(**inputs).logits, expected["logits"])
    assert len(list(tmp_path.glob("*.py"))) == 3


def test_package_wins_over_the_copied_code(folder, folded_folder):
    code = LOAD_AND_COMPARE.replace("{trust}", "{'trust_remote_code': True}")
    printed = run_python(
        code.replace("{imports}", "import hf_attn, transformers"), folder, folded_folder
    )
    assert printed == "hf_attn.modeling_hf_attn\n"


def test_checkpoint_of_one_class_loads_into_the_other(tmp_path):
    model, batch = small_classifier(), masked_batch()
    model.save_pretrained(tmp_path / "classifier")
    base = AutoModel.from_pretrained(tmp_path / "classifier")
    expected = model.model(**batch).last_hidden_state
    assert torch.equal(base(**batch).last_hidden_state, expected)
    base.save_pretrained(tmp_path / "base")
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path / "base", num_labels=3)
    assert torch.equal(again.model(**batch).last_hidden_state, expected)
    assert again.score.bias.abs().sum() == again.score.reference.abs().sum() == 0
