"""LoRA adapters and int8 models: pushed by the command and by the library, loaded everywhere."""

import json

import pytest
from hub_clients import commits, held, run_client

pytest.importorskip("peft", reason="needs the extra hf-attn[lora]")
pytest.importorskip("torchao.quantization", reason="needs the extra hf-attn[int8]")

TEXT = "wheat and crude"
# Each is pushed by `hf-attn push`, and by its own `push_to_hub`, to a name that ends in -library.
PUSH = """
    import sys
    from pathlib import Path
    import peft, torch
    from torchao.quantization import Int8WeightOnlyConfig
    from transformers import TorchAoConfig
    from typer.testing import CliRunner
    from hf_attn import HfAttnForSequenceClassification, HfAttnTokenizer
    from hf_attn.cli import app

    trained, folder = sys.argv[1], Path(sys.argv[2])

    def push(path, name):
        done = CliRunner().invoke(app, ["push", str(path), name], catch_exceptions=False)
        (folder / f"{name.partition('/')[2]}.py").write_text(done.stdout.split("\\n\\n")[-1])

    push(trained, "alice/base")
    tokenizer = HfAttnTokenizer.from_pretrained("alice/base")
    inputs = tokenizer(sys.argv[3], return_tensors="pt")
    model = HfAttnForSequenceClassification.from_pretrained("alice/base")
    config = peft.LoraConfig(
        task_type="SEQ_CLS", target_modules=["q_proj", "v_proj"], modules_to_save=["score"], r=2
    )
    adapted = peft.get_peft_model(model, config).eval()
    with torch.no_grad():
        for parameter in adapted.parameters():
            parameter.add_(0.2 * parameter.requires_grad)
    small = HfAttnForSequenceClassification.from_pretrained(
        "alice/base", quantization_config=TorchAoConfig(Int8WeightOnlyConfig())
    )
    for name, one in (("adapter", adapted), ("int8", small)):
        one.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
        push(folder / name, f"alice/{name}")
        one.push_to_hub(f"alice/{name}-library")
    tokenizer.push_to_hub("alice/int8-library")
    torch.save([one(**inputs).logits.detach() for one in (adapted, small)], folder / "answers.pt")
"""
LOAD = """
    import sys
    from pathlib import Path
    import peft, torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer
    trust = {"trust_remote_code": True}
    if sys.argv[3] == "with":
        import hf_attn
        trust = {}
    folder = Path(sys.argv[1])
    adapted, int8 = torch.load(folder / "answers.pt")

    def check(model, expected, tokenizer, tolerance=0):
        tokens = AutoTokenizer.from_pretrained(tokenizer, **trust)
        logits = model.eval()(**tokens(sys.argv[2], return_tensors="pt")).logits
        torch.testing.assert_close(logits, expected, rtol=0, atol=tolerance)

    for name in ("alice/adapter", "alice/adapter-library"):
        tokenizer = {"alice/adapter": name}.get(name, "alice/base")
        automatic = peft.AutoPeftModelForSequenceClassification.from_pretrained(name, **trust)
        check(automatic, adapted, tokenizer)
        check(AutoModelForSequenceClassification.from_pretrained(name, **trust), adapted, tokenizer)
        base = AutoModelForSequenceClassification.from_pretrained("alice/base", **trust)
        check(peft.PeftModel.from_pretrained(base, name), adapted, tokenizer)
    for name in ("alice/int8", "alice/int8-library"):
        model = AutoModelForSequenceClassification.from_pretrained(name, **trust)
        assert type(model.model.attention.q_proj.weight).__module__.startswith("torchao")
        check(model, int8, name)
    inputs = AutoTokenizer.from_pretrained(name, **trust)(sys.argv[2], return_tensors="pt")
    outputs = model(**inputs, output_contributions=True)
    assert (outputs.bias + outputs.contributions.sum(1) - outputs.logits).abs().max() < 1e-4
    for name, logits in (("adapter", adapted), ("int8", int8), ("base", None)):
        exec((folder / f"{name}.py").read_text())
        answer = classify(sys.argv[2])[0]
        if logits is not None:
            score, index = logits.softmax(-1).max(-1)
            assert answer["label"] == model.config.id2label[index.item()]
            assert abs(answer["score"] - score.item()) < 1e-6
    print(type(base).__module__.split(".")[0])
"""
# What the command answers, and the probabilities that the models gave before they were pushed.
PREDICT = """
    import json, sys
    import torch
    from typer.testing import CliRunner
    from hf_attn.cli import app
    for name, logits in zip(("adapter", "int8"), torch.load(sys.argv[1]), strict=True):
        asked = ["predict", f"alice/{name}", sys.argv[2], "--json"]
        done = CliRunner().invoke(app, asked, catch_exceptions=False)
        scores = list(json.loads(done.stdout)["scores"].values())
        print(json.dumps([scores, logits.softmax(-1)[0].sort(descending=True)[0].tolist()]))
"""


@pytest.fixture(scope="module")
def answers(hub, trained_folder, tmp_path_factory):
    """A folder with the logits of adapter and int8 model, and the lines that each push printed."""
    folder = tmp_path_factory.mktemp("adapters")
    run_client(hub, folder / "home", PUSH, trained_folder, folder, TEXT)
    return folder


@pytest.mark.parametrize("package", [pytest.param("with", marks=pytest.mark.slow), "without"])
def test_adapters_and_int8_models_load_from_the_hub(package, hub, answers, tmp_path):
    without = package == "without"
    printed = run_client(
        hub, tmp_path, LOAD, answers, TEXT, package, token=None, without_package=without
    )
    assert printed.split()[-1] == ("transformers_modules" if without else "hf_attn")


def test_command_answers_like_adapter_and_int8_model(hub, answers, tmp_path):
    printed = run_client(hub, tmp_path, PREDICT, answers / "answers.pt", TEXT, token=None)
    for line in printed.splitlines():
        scores, expected = json.loads(line)
        assert scores == pytest.approx(expected, abs=1e-6)
    assert len(printed.splitlines()) == 2


def test_pushed_adapter_is_small_and_names_its_base_and_no_path(hub, answers):
    (commit,) = commits(hub, "alice/adapter").values()
    files = held(hub, commit)
    assert "model.safetensors" not in files
    assert json.loads(files["adapter_config.json"])["base_model_name_or_path"] == "alice/base"
    assert b"base_model: alice/base" in files["README.md"]
    assert not [name for name, content in files.items() if str(answers).encode() in content]
