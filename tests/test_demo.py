"""What the page shows: labels, words, stages, questions, and what it refuses."""

import html
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx2
import numpy as np
import pytest
import torch
from demo_models import KINDS, train_model
from processes import run_python

import hf_attn.demo
from hf_attn import InputError, Predictor, cli, explain
from hf_attn.demo import own_words, runs, worked_example
from hf_attn.demo.check_yourself import Progress, answer_to_html, question_to_html, score_to_html
from hf_attn.demo.classify import labels_to_html, words_to_html
from hf_attn.demo.look_inside import NUM_STAGES, stage_to_html
from hf_attn.demo.questions import NUM_QUESTIONS, make_question
from hf_attn.demo.served import MOST_CHARACTERS, Sentence, ServedModel
from hf_attn.demo.striking import strike, without_word
from hf_attn.demo.training import training_to_html

TEXTS = {
    "empty": "",
    "white space": " \t\n",
    "one word": "opec",
    "emoji": "crude 🛢️ rose 👩‍👩‍👧 today",
    "right to left": "ארה״ב crude מחירי النفط",
    "html": "<script>alert(1)</script> <img src=x onerror=alert(1)> & \"crude\" 'wheat'",
    "template": "{{7*7}} ${7*7} {% raw %} crude",
    "control": "crude\x00 \x07wheat\x1b[31m \u202ecorn \ufffe",
    "longest": ("crude oil " * MOST_CHARACTERS)[:MOST_CHARACTERS],
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A folder with a trained model for each kind, trained when it is asked for."""
    made = {}

    def folder_of(kind):
        if kind not in made:
            made[kind] = train_model(kind, tmp_path_factory.mktemp(kind) / "model")
        return made[kind]

    return folder_of


@pytest.fixture(scope="module")
def served(folders):
    """A served model for each kind."""
    made = {}

    def served_model(kind="single"):
        if kind not in made:
            made[kind] = ServedModel.load(str(folders(kind)))
        return made[kind]

    return served_model


@pytest.fixture
def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def sentence_for(served, text="wheat fell and crude oil rose in the market"):
    return Sentence(text, "corn harvest of april" if served.reads_pairs else None)


def shown_of(served, sentence):
    """All that the page makes of a sentence."""
    explanation = served.explain(sentence)
    yield labels_to_html(explanation)
    for struck in (None, 0) if explanation.words else (None,):
        yield words_to_html(served, sentence, explanation, struck)
    yield from (stage_to_html(served, sentence, stage + 1) for stage in range(NUM_STAGES))
    for number in range(NUM_QUESTIONS):
        question = make_question(number, served, sentence)
        progress = Progress(sentence, ()).answered(question, 0)
        yield question_to_html(progress, question) + answer_to_html(progress, question)
        if question.run:
            yield question.run()


def plain(page):
    """The words of a fragment."""
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]*>", " ", page)))


@pytest.mark.parametrize("scaled", [False, True])
def test_worked_example_is_attention_as_the_formula_has_it(scaled):
    query, key, value = (
        np.array(matrix.tolist())
        for matrix in (worked_example.QUERY, worked_example.KEY, worked_example.VALUE)
    )
    scores = query @ key.T / (np.sqrt(2) if scaled else 1)
    weights = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    worked = worked_example.attend(
        worked_example.QUERY, worked_example.KEY, worked_example.VALUE, scaled=scaled
    )
    np.testing.assert_allclose(worked.scores, scores, rtol=1e-12)
    np.testing.assert_allclose(worked.weights, weights, rtol=1e-12)
    np.testing.assert_allclose(worked.values, weights @ value, rtol=1e-12)


def test_worked_example_comes_out_as_the_questions_say():
    assert "10.0003" in plain(runs.worked(scaled=False))
    assert "10.0084" in plain(runs.worked(scaled=True))


def test_attention_of_many_queries_is_that_of_each():
    generator = torch.Generator().manual_seed(0)
    query, key, value = (
        torch.randn(5, size, generator=generator, dtype=torch.float64) for size in (3, 3, 4)
    )
    worked = worked_example.attend(query, key, value, scaled=True)
    expected = torch.nn.functional.scaled_dot_product_attention(query, key, value)
    torch.testing.assert_close(worked.values, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("words", [3, 4])
def test_missing_transpose_fails_on_the_model_and_is_wrong_on_the_worked_example(served, words):
    # Of four tokens Q and K are 4 x 4, as K is 4 in this model: by chance it would run.
    shown = plain(runs.without_transpose(served(), sentence_for(served(), "oil " * words)))
    assert "cannot be multiplied (3x4 and 3x4)" in shown
    assert "15.3788 25.3788" in shown


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", TEXTS)
def test_every_text_is_shown_in_every_tab_and_escaped(served, kind, name):
    model = served(kind)
    for shown in shown_of(model, sentence_for(model, TEXTS[name])):
        assert "<script" not in shown
        assert "<img" not in shown
        assert "nan" not in plain(shown).lower().split()


@pytest.mark.parametrize("name", ["emoji", "right to left", "html", "template"])
def test_words_are_the_text_and_nothing_but_text(served, name):
    shown = words_to_html(served(), Sentence(TEXTS[name]), served().explain(Sentence(TEXTS[name])))
    (words,) = re.findall(r'<p class="text".*?>(.*?)</p>', shown, re.S)
    text = re.sub(r'<button [^>]*title="[^"<>]*">|</button>', "", words)
    assert "<" not in text
    assert html.unescape(text).strip() == TEXTS[name]


def test_names_of_classes_are_escaped(served):
    model = served().model
    names = dict(model.config.id2label)
    try:
        model.config.id2label = {0: "<b>farm</b>", 1: "<script>oil</script>"}
        shown = "".join(shown_of(ServedModel(model, served().tokenizer, Path(), "x"),
                                 Sentence("wheat fell and crude rose")))  # fmt: skip
    finally:
        model.config.id2label = names
    assert "<b>farm" not in shown
    assert "<script" not in shown
    assert "&lt;b&gt;farm" in shown


def test_text_of_5000_words_is_refused_with_its_length(served):
    with pytest.raises(InputError, match=r"up to 4,000 characters, and this one has 30,000"):
        served().explain(Sentence("crude " * 5000))


def test_second_text_that_is_too_long_is_refused(served):
    with pytest.raises(InputError, match="up to 4,000 characters, and this one has 4,001"):
        served("pairs").explain(Sentence("crude", "x" * (MOST_CHARACTERS + 1)))


def test_labels_are_those_that_the_model_predicts(served):
    model, sentence = served(), sentence_for(served())
    (expected,) = Predictor.from_model(model.model, model.tokenizer).predict([sentence.text])
    shown = plain(labels_to_html(model.explain(sentence)))
    for name, score in expected.scores.items():
        assert f"{name} {100 * score:.1f} %" in shown


def test_labels_below_one_half_are_shown_without_a_note_on_what_is_not(served):
    model = served("multi")
    shown = plain(labels_to_html(model.explain(Sentence("the of said in april"))))
    assert all(name in shown for name in model.class_names)
    assert "Shown:" not in shown


@pytest.mark.parametrize("kind", KINDS)
def test_masked_word_is_a_run_with_the_word_hidden_and_retyped_one_a_prediction(served, kind):
    model = served(kind)
    sentence = sentence_for(model)
    explanation = model.explain(sentence)
    index = next(i for i, word in enumerate(explanation.words) if word.text == "crude")
    struck = strike(model, sentence, explanation, index)

    pair = [] if sentence.pair is None else [sentence.pair]
    inputs = model.tokenizer(sentence.text, *pair, return_tensors="pt")
    token = model.tokenizer.convert_tokens_to_ids("crude")
    hidden = inputs["input_ids"] == token
    with torch.inference_mode():
        masked = model.model(inputs["input_ids"], inputs["attention_mask"] * ~hidden).logits[0]
    (typed,) = Predictor.from_model(model.model, model.tokenizer).predict(
        ["wheat fell and oil rose in the market"],
        pairs=pair or None,
    )  # fmt: skip
    assert int(hidden.sum()) == 1
    assert struck.retyped.text == "wheat fell and oil rose in the market"
    for row in struck.rows:
        place = model.class_names.index(row.name)
        assert row.logits[1] == pytest.approx(float(masked[place]), abs=1e-5)
        assert row.scores[2] == pytest.approx(typed.scores[row.name], abs=1e-6)


def test_effect_is_the_difference_that_is_shown(served):
    explanation = served().explain(sentence_for(served()))
    for effect in strike(served(), sentence_for(served()), explanation, 0).effects:
        assert effect.whole - effect.lost == pytest.approx(effect.left)
        assert effect.lost == explanation.words[0].deletion_effect


@pytest.mark.parametrize(
    ("text", "index", "expected"),
    [
        ("oil prices rose", 0, "prices rose"),
        ("oil prices rose", 1, "oil rose"),
        ("oil prices rose", 2, "oil prices"),
        ("oil, prices", 1, "oil prices"),
        ("  oil\nrose ", 1, "  oil"),
        ("oil", 0, ""),
    ],
)
def test_text_without_a_word_has_no_gap(served, text, index, expected):
    explanation = served().explain(Sentence(text))
    assert without_word(Sentence(text), explanation, index).text == expected


def test_word_that_does_not_exist_is_not_struck_out(served):
    sentence = sentence_for(served())
    explanation = served().explain(sentence)
    assert "Without" not in words_to_html(served(), sentence, explanation, 99)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("number", range(NUM_QUESTIONS))
def test_question_has_one_right_choice_among_others(served, kind, number):
    model = served(kind)
    question = make_question(number, model, sentence_for(model))
    assert len(set(question.choices)) == len(question.choices) >= 3
    assert question.right in range(len(question.choices))
    assert question.why


def test_right_answers_are_not_all_in_one_place(served):
    places = {
        make_question(n, served(), sentence_for(served())).right for n in range(NUM_QUESTIONS)
    }
    assert len(places) >= 3


def question_that_asks(model, sentence, words):
    questions = [make_question(number, model, sentence) for number in range(NUM_QUESTIONS)]
    (question,) = [question for question in questions if words in question.ask]
    return question


def test_word_with_most_attention_is_that_of_the_model(served):
    model, sentence = served(), sentence_for(served())
    inputs = model.tokenizer(sentence.text, return_tensors="pt")
    with torch.inference_mode():
        received = model.model(**inputs, output_attentions=True).attentions[0][0, 0].mean(0)
    question = question_that_asks(model, sentence, "received most attention")
    assert question.choices[question.right] == sentence.text.split()[int(received.argmax())]


def test_word_that_adds_most_is_that_of_the_explanation(served):
    model, sentence = served(), sentence_for(served())
    words = explain(sentence.text, model.model, model.tokenizer).words
    question = question_that_asks(model, sentence, "adds most")
    assert question.choices[question.right] == max(words, key=lambda word: word.contribution).text


def test_what_masking_does_is_what_a_run_without_the_word_does(served):
    model, sentence = served(), sentence_for(served())
    question = question_that_asks(model, sentence, "rise or fall")
    word = re.match("“(.+?)”", question.ask)[1]
    target = model.explain(sentence).label
    inputs = model.tokenizer(sentence.text, return_tensors="pt")
    hidden = inputs["input_ids"] == model.tokenizer.convert_tokens_to_ids(word)
    with torch.inference_mode():
        whole = model.model(**inputs).logits[0]
        masked = model.model(inputs["input_ids"], inputs["attention_mask"] * ~hidden).logits[0]
    place = model.class_names.index(target)
    change = float((masked - whole)[place] - (masked - whole)[1 - place])  # against the other
    assert question.right == (0 if change > 0 else 1)


def test_number_of_weights_is_the_square_of_the_tokens(served):
    question = question_that_asks(served(), Sentence("crude oil rose"), "How many attention")
    assert question.choices[question.right] == "9"
    assert "3 × 3: 9 numbers" in plain(question.run())


@pytest.mark.parametrize("text", ["", "opec", " \n"])
def test_text_of_too_few_words_gives_way_to_another(served, text):
    question = question_that_asks(served(), Sentence(text), "received most attention")
    assert "Your text has fewer than 2 words" in question.given
    assert "The cat sat on the mat" in question.given


def test_words_that_occur_twice_are_told_apart(served):
    explanation = served().explain(Sentence("the oil the corn"))
    names = own_words.largest(explanation, [4.0, 1.0, 3.0, 2.0]).names
    assert "the (word 1)" in names
    assert "the (word 3)" in names


def test_very_long_words_are_cut_and_still_told_apart(served):
    explanation = served().explain(Sentence("oil " + "x" * 99 + " " + "x" * 98))
    names = own_words.largest(explanation, [1.0, 3.0, 2.0]).names
    assert f"{'x' * 39}… (word 2)" in names
    assert f"{'x' * 39}… (word 3)" in names


def test_equal_values_have_all_of_them_as_the_answer(served):
    choice = own_words.largest(served().explain(Sentence("oil and corn")), [0.25, 0.25, 0.25])
    assert choice.names[choice.right] == own_words.ALL_THE_SAME


def test_score_counts_right_answers_and_names_the_missed(served):
    progress = Progress(sentence_for(served()))
    for number in range(NUM_QUESTIONS):
        question = progress.question(served())
        wrong = (question.right + 1) % len(question.choices)
        progress = progress.answered(question, question.right if number < 7 else wrong)
        assert ("Right." in answer_to_html(progress, question)) == (number < 7)
        progress = progress.moved_on(progress.sentence)
    assert progress.is_over
    shown = plain(score_to_html(progress))
    assert "7 of 10 right" in shown
    assert shown.count("Missed") == 3


def test_stages_say_their_shapes(served):
    shapes = [
        plain(stage_to_html(served(), Sentence("wheat fell and crude oil rose"), stage + 1))
        for stage in range(NUM_STAGES)
    ]
    assert "1 sentence × 6 tokens × 8 features" in shapes[2]
    assert "1 sentence × 6 tokens × 6 tokens" in shapes[4]
    assert "1 sentence × 2 probabilities" in shapes[6]


def test_training_is_shown_or_said_to_be_unknown(folders, tmp_path):
    folder = shutil.copytree(folders("single"), tmp_path / "model")
    shown = training_to_html(ServedModel.load(str(folder)))
    assert shown.count("<svg") >= 2
    assert "what the numbers say" in shown
    (folder / "training_trace.json").unlink()
    assert "without a training trace" in training_to_html(ServedModel.load(str(folder)))


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs the command in this process and gives its exit code and errors."""

    def run_command(*arguments):
        monkeypatch.setattr(sys, "argv", ["hf-attn", "demo", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        return exit_.value.code, capsys.readouterr().err

    return run_command


def test_missing_folder_is_said(run, tmp_path, free_port):
    code, errors = run(tmp_path / "none", "--port", free_port)
    assert code == 2
    assert "expected a folder with a model, found none" in errors


def test_model_of_another_type_is_said(run, tmp_path, free_port):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    code, errors = run(tmp_path, "--port", free_port)
    assert code == 2
    assert "expected a model of type 'hf_attn' or 'hf_attn_folded', got 'bert'" in errors


def test_busy_port_is_said_with_another_to_take(run, folders):
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        code, errors = run(folders("single"), "--port", port)
    assert code == 2
    assert f"127.0.0.1:{port} cannot be listened at" in errors
    assert "--port" in errors


@pytest.mark.parametrize("port", [0, 70000])
def test_port_that_is_none_is_said(run, tmp_path, port):
    code, errors = run(tmp_path, "--port", port)
    assert code == 2
    assert f"expected a port from 1 to 65535, got {port}" in errors


def test_missing_extra_is_said_with_the_command_that_installs_it():
    code = """
        sys.modules["gradio"] = None
        sys.argv = ["hf-attn", "demo", "model"]
        from hf_attn.cli import main
        sys.stderr = sys.stdout
        try:
            main()
        except SystemExit as exit_:
            print(exit_.code)
    """
    printed = run_python("import sys\n" + code.replace("\n        ", "\n"))
    assert "pip install 'hf-attn[demo]'" in printed
    assert printed.split()[-1] == "2"


# A process of its own, as what it asks of the network is watched from its first import on.
WATCHED = """
import sys
asked = []
def watch(event, arguments):
    if event == "socket.connect":
        asked.append(arguments[1][0])
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        asked.append(arguments[0])
sys.addaudithook(watch)
from hf_attn.demo.server import start_page
page = start_page(sys.argv[1], host="127.0.0.1", port=int(sys.argv[2]))
from gradio_client import Client
shown = Client(page.local_url, verbose=False).predict("crude oil", api_name="/read")
assert any("crude" in str(part) for part in shown)
print(page.local_url, page.server_name, sorted({str(one) for one in asked}))
page.close(verbose=False)
"""


def test_page_listens_here_alone_and_asks_no_other_machine(folders, free_port):
    command = [sys.executable, "-c", WATCHED, str(folders("single")), str(free_port)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    address, name, asked = done.stdout.strip().split(" ", 2)
    assert address == f"http://127.0.0.1:{free_port}/"
    assert name == "127.0.0.1"
    assert asked == "['127.0.0.1']"


def test_visitors_at_once_get_their_own_answers(folders):
    script = Path(__file__).parents[1] / "scripts" / "benchmark_page.py"
    command = [sys.executable, str(script), str(folders("single")), "--requests", "4"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    assert "5 visitors at once: 20 answers, no error" in done.stdout


def test_folder_is_a_space(folders, free_port, tmp_path):
    example = json.loads((folders("single") / "run.json").read_text())["example"]["text"]
    space = shutil.copytree(Path(hf_attn.demo.__file__).parent, tmp_path / "space")
    shutil.copytree(folders("single"), space / "model")
    metadata = (space / "README.md").read_text().split("---")[1]
    file = re.search(r"app_file: (\S+)", metadata)[1]
    # A Space says through Gradio's variables where to listen.
    process = subprocess.Popen(
        [sys.executable, file],
        cwd=space,
        env={
            **os.environ,
            "GRADIO_SERVER_NAME": "127.0.0.1",
            "GRADIO_SERVER_PORT": str(free_port),
            "PYTHONPATH": str(Path(hf_attn.__file__).parents[1]),
        },
    )
    try:
        assert example in wait_for_page(f"http://127.0.0.1:{free_port}", process)
    finally:
        process.terminate()
        process.wait()


def wait_for_page(address, process):
    """Gives the page once the process serves it."""
    for _ in range(600):
        assert process.poll() is None, "the page has ended"
        try:
            return httpx2.get(address).text
        except httpx2.TransportError:
            time.sleep(0.1)
    raise AssertionError("no page came")
