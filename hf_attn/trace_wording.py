"""What traces say in words: each stage and layer, its formula, and the shapes around it."""

from __future__ import annotations

from typing import NamedTuple

from .explanation import Explanation
from .problem_types import MULTI, REGRESSION
from .trace_sizes import Sizes, count
from .wording import notes


class Wording(NamedTuple):
    """What a stage says in words; see [`Stage`]."""

    name: str
    does: str
    formula: str
    learned: str
    takes: str
    gives: str


def stage_wordings(sizes: Sizes) -> tuple[Wording, ...]:
    """Gives the words of the seven stages."""
    typed = f"{sizes.shape()} of {count(sizes.num_characters, 'character')}"
    tokens = sizes.shape(sizes.tokens)
    features = sizes.shape(sizes.tokens, sizes.features)
    square = sizes.shape(sizes.tokens, sizes.tokens)
    return (
        Wording(
            "Input text",
            "Takes the text as it was typed: so far it is nothing but characters.",
            f"text = c_1 … c_{sizes.num_characters}" if sizes.num_characters else "text = nothing",
            "",
            "what was typed",
            typed,
        ),
        Wording(
            "Tokenization",
            "Cuts the text into tokens, and replaces each by its number in the vocabulary.",
            "t_j = the number of token j",
            f"a vocabulary of {count(sizes.vocab_size, 'token')}",
            typed,
            tokens,
        ),
        _embedding(sizes, "Embedding", tokens, features),
        _scores(sizes, features, square),
        Wording(
            "Attention weights",
            "Turns each row of scores into shares that sum to 1: how a token divides its "
            "attention among all tokens.",
            "A_ij = exp(s_ij) / Σ_k exp(s_ik)",
            "",
            square,
            square,
        ),
        Wording(
            "Weighted sum",
            "Adds to each token what it reads of all tokens, of each as much as its weight says.",
            "y_i = x_i + Σ_j A_ij W_v x_j",
            f"W_v: {sizes.hidden_size} × {sizes.hidden_size}",
            f"the weights, {sizes.tokens} × {sizes.tokens}, and the features, "
            f"{sizes.tokens} × {sizes.features}",
            features,
        ),
        _output(sizes, features),
    )


def layer_wordings(sizes: Sizes) -> tuple[Wording, ...]:
    """Gives the words of the six layers of a prediction."""
    tokens = sizes.shape(sizes.tokens)
    features = sizes.shape(sizes.tokens, sizes.features)
    square = sizes.shape(sizes.tokens, sizes.tokens)
    pooled = sizes.shape(sizes.features)
    logits = sizes.shape(_logits(sizes))
    scores = _scores(sizes, features, square)
    x = _centred(sizes)
    return (
        Wording(
            "Input layer",
            "Hands the tokens of the text to the model, each as its number in the vocabulary.",
            "t_j = the number of token j",
            "",
            f"{sizes.shape()} of {count(sizes.num_characters, 'character')}",
            tokens,
        ),
        _embedding(sizes, "Embedding layer", tokens, features),
        Wording(
            "Attention layer",
            "Scores every token for every token, and turns each row of scores into shares that "
            "sum to 1.",
            f"{scores.formula}\nA_ij = exp(s_ij) / Σ_k exp(s_ik)",
            scores.learned,
            features,
            square,
        ),
        Wording(
            "Weighted sum",
            "Sums the tokens into one row of features: each by how much it counts itself, and by "
            "the attention that it receives from all tokens.",
            _pooled_formula(sizes),
            _pooling_learned(sizes),
            f"the weights, {sizes.tokens} × {sizes.tokens}, and the features, "
            f"{sizes.tokens} × {sizes.features}",
            pooled,
        ),
        Wording(
            "Output layer",
            "Scores the text for each class; the score, a logit, is a bias plus what each word "
            "adds."
            if sizes.problem_type != REGRESSION
            else "Computes the value: a bias plus what each word adds.",
            f"logits = W_c h + b = b + Σ_j c_j\nc_j = p_j W_c {x} + a_j W_c W_v {x}",
            _head_learned(sizes),
            pooled,
            logits,
        ),
        Wording(
            "Prediction",
            _prediction_does(sizes),
            _prediction_formula(sizes),
            "",
            logits,
            sizes.shape(sizes.outputs),
        ),
    )


def _embedding(sizes: Sizes, name: str, tokens: str, features: str) -> Wording:
    table = f"E: {sizes.vocab_size:,} × {sizes.hidden_size}"
    does = f"Looks up {count(sizes.hidden_size, 'learned number')} for each token, its features"
    if not sizes.ngram_buckets:
        formula = f"x_j = √{sizes.hidden_size} · E[t_j]"
        return Wording(name, f"{does}.", formula, table, tokens, features)
    return Wording(
        name,
        f"{does}, and adds those of the pair that it makes with the token before it.",
        f"x_j = √{sizes.hidden_size} · (E[t_j] + G[row(t_{{j−1}}, t_j)])",
        f"{table}, G: {sizes.ngram_buckets:,} × {sizes.hidden_size}",
        tokens,
        features,
    )


def _scores(sizes: Sizes, features: str, square: str) -> Wording:
    does = "Compares the query of each token with the key of every token"
    formula = f"s_ij = (W_q x_i) · (W_k x_j) / √{sizes.head_dim}"
    learned = f"W_q and W_k: {sizes.head_dim} × {sizes.hidden_size} each"
    if sizes.num_distances:
        does += ", and adds a score for how far apart they stand"
        formula += " + r[j − i]"
        learned += f", r: {count(sizes.num_distances, 'number')} for ranges of distances"
    if sizes.window:
        formula += f"  for |j − i| ≤ {sizes.window}"
    does += ": the higher, the more it will read there."
    return Wording("Attention scores", does, formula, learned, features, square)


def _output(sizes: Sizes, features: str) -> Wording:
    weighs = "Σ_i p_i y_i" if sizes.learns_pooling else f"1/{sizes.num_tokens or 'T'} Σ_i y_i"
    reference = " − (x̄ + W_v x̄)" if sizes.has_reference else ""
    formula = f"h = {weighs}{reference}\nlogits = W_c h + b"
    if sizes.learns_pooling:
        formula = f"p = softmax(w · x)\n{formula}"
    average = "a weighted average" if sizes.learns_pooling else "the average"
    if sizes.problem_type == REGRESSION:
        does = f"Takes {average} of the rows, and computes the value from it."
    else:
        formula += f"\n{_prediction_formula(sizes)}"
        does = (
            f"Takes {average} of the rows, scores it for each class, and turns the scores into "
            "probabilities."
        )
    learned = _head_learned(sizes)
    if sizes.learns_pooling:
        learned += f", w: {sizes.hidden_size}"
    return Wording("Output layer", does, formula, learned, features, sizes.shape(sizes.outputs))


def _pooled_formula(sizes: Sizes) -> str:
    x = _centred(sizes)
    share = "softmax(w · x)" if sizes.learns_pooling else f"1/{sizes.num_tokens or 'T'}"
    return f"p = {share}\na = p A\nh = Σ_j p_j {x} + W_v Σ_j a_j {x}"


def _centred(sizes: Sizes) -> str:
    return "(x_j − x̄)" if sizes.has_reference else "x_j"


def _pooling_learned(sizes: Sizes) -> str:
    learned = f"W_v: {sizes.hidden_size} × {sizes.hidden_size}"
    if sizes.learns_pooling:
        learned += f", w: {sizes.hidden_size}"
    if sizes.has_reference:
        learned += ", x̄: the mean features of the training texts"
    return learned


def _head_learned(sizes: Sizes) -> str:
    return f"W_c: {sizes.num_classes} × {sizes.hidden_size}, b: {sizes.num_classes}"


def _logits(sizes: Sizes) -> str:
    return count(sizes.num_classes, "value" if sizes.problem_type == REGRESSION else "logit")


def _has_sigmoid(sizes: Sizes) -> bool:
    return sizes.problem_type == MULTI or sizes.num_classes == 1


def _prediction_does(sizes: Sizes) -> str:
    if sizes.problem_type == REGRESSION:
        return "Gives the value as it is."
    if _has_sigmoid(sizes):
        return "Turns each logit into a probability of its own: a text may have several labels."
    return "Turns the logits into probabilities that sum to 1; the label is the likeliest class."


def _prediction_formula(sizes: Sizes) -> str:
    if sizes.problem_type == REGRESSION:
        return "value = logit"
    return f"probabilities = {'sigmoid' if _has_sigmoid(sizes) else 'softmax'}(logits)"


def word_names(explanation: Explanation) -> list[str]:
    """Gives what stands beside the row of each word; one that is not known has a question mark."""
    return [f"{word.name}{'' if word.is_known else '?'}" for word in explanation.words]


def trace_notes(explanation: Explanation, num_kept: int, *, reads_all: bool = True) -> list[str]:
    """Gives what has to be known to read the numbers, such as what was cut.

    Args:
        explanation: Of the whole text.
        num_kept: Tokens whose numbers are shown.
        reads_all: Whether these come from all tokens of the text, and not from those alone.
    """
    # With a target there is no note on which of several labels are shown: a trace shows all.
    said = list(notes(explanation.aimed_at(int(explanation.logits.argmax()))))
    if num_kept < explanation.num_tokens:
        said.append(
            f"The model read all {explanation.num_tokens:,} tokens; the numbers of the first "
            f"{num_kept} are kept."
            if reads_all
            else f"The first {num_kept} of {explanation.num_tokens:,} tokens are compared, as if "
            "the text ended there."
        )
    if not explanation.known.all():
        said.append("? after a word: the vocabulary does not have it, or not all of it.")
    return said
