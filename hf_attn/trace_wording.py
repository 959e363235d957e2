"""What traces say in words: each stage and layer, its formula, and the shapes around it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from .explanation import Explanation
from .modeling_hf_attn import HfAttnForSequenceClassification
from .problem_types import MULTI, REGRESSION, problem_type_of
from .wording import notes

if TYPE_CHECKING:
    from .scaling import ScalingComparison

# What each array of a trace is, by its name among the values of a stage.
CAPTIONS = {
    "tokens": "",
    "token_ids": "",
    "features": "x: the features of each token",
    "query": "W_q x / √K: the query of each token, what it looks for",
    "key": "W_k x: the key of each token, what it is found by",
    "scores": "s: how high the token of a row scores those of the columns",
    "weights": "A: how the token of a row divides its attention among those of the columns",
    "last_hidden_state": "y: each token with what it read of all of them",
    "pool_weights": "p: how much each token counts in the text",
    "attention_received": "a: how much attention each word receives",
    "pooled": "h: the text as one row of features",
    "contributions": "c: what each word adds to the logit of each class",
    "logits": "",
    "probabilities": "",
}
# What stands above a column of such numbers.
HEADINGS = {
    "tokens": "read as",
    "token_ids": "number",
    "pool_weights": "p",
    "attention_received": "a",
    "logits": "logit",
    "probabilities": "probability",
}
SHARES = {"weights", "weights_beyond", "pool_weights", "attention_received", "probabilities"}


class Wording(NamedTuple):
    """What a stage says in words; see [`Stage`]."""

    name: str
    does: str
    formula: str
    learned: str
    takes: str
    gives: str


class Sizes(NamedTuple):
    """What the words depend on: how large a text and a model are, and what the model has.

    Attributes:
        noun: What a text is called, "sentence" or "pair of sentences".
        num_characters: Of the text, and of the second one.
        num_tokens: T, all that the model read.
        hidden_size: D.
        head_dim: K.
        num_classes: C.
        vocab_size: Rows of the embedding table.
        ngram_buckets: Rows of the table of bigrams; 0 without.
        num_distances: Learned scores of distances; 0 without.
        window: How far a token sees; 0 for all.
        learns_pooling: Whether tokens count by a learned score, and not all the same.
        has_reference: Whether features are counted from a reference.
        problem_type: The task.
    """

    noun: str
    num_characters: int
    num_tokens: int
    hidden_size: int
    head_dim: int
    num_classes: int
    vocab_size: int
    ngram_buckets: int
    num_distances: int
    window: int
    learns_pooling: bool
    has_reference: bool
    problem_type: str

    def shape(self, *parts: str) -> str:
        """Gives a shape in words: "1 sentence × 6 tokens × 8 features"."""
        return " × ".join([f"1 {self.noun}", *parts])

    @property
    def tokens(self) -> str:
        """The tokens, counted."""
        return count(self.num_tokens, "token")

    @property
    def features(self) -> str:
        """The features, counted."""
        return count(self.hidden_size, "feature")

    @property
    def outputs(self) -> str:
        """What the model gives, counted."""
        if self.problem_type == REGRESSION:
            return count(self.num_classes, "value")
        return count(self.num_classes, "probability", "probabilities")


def sizes_of(model: HfAttnForSequenceClassification, explanation: Explanation) -> Sizes:
    """Gives what the words of a trace depend on."""
    config = model.config
    return Sizes(
        noun="sentence" if explanation.pair is None else "pair of sentences",
        num_characters=len(explanation.text) + len(explanation.pair or ""),
        num_tokens=explanation.num_tokens,
        hidden_size=config.hidden_size,
        head_dim=config.head_dim,
        num_classes=len(explanation.class_names),
        vocab_size=config.vocab_size,
        ngram_buckets=config.ngram_buckets,
        num_distances=config.relative_attention_num_buckets,
        window=config.attention_window,
        learns_pooling=config.classifier_pooling == "static",
        has_reference=bool(model.score.reference.any()),
        problem_type=problem_type_of(config),
    )


def count(number: int, noun: str, nouns: str | None = None) -> str:
    """Gives a number with its noun: "1 token", "5,000 tokens"."""
    return f"{number:,} {noun if number == 1 else nouns or noun + 's'}"


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
        f"x_j = √{sizes.hidden_size} · (E[t_j] + G[hash(t_{{j−1}}, t_j)])",
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


def scaling_observation(comparison: ScalingComparison) -> str:
    """Gives what a comparison of attention with and without 1/√K shows, from its numbers."""
    scaled, unscaled = comparison.with_scaling, comparison.without_scaling
    if len(comparison.tokens) < 2:
        return "With fewer than two tokens there is nothing to weigh, and scaling changes nothing."
    root = math.sqrt(comparison.head_dim)
    sharper = "sharper" if unscaled.mean_entropy < scaled.mean_entropy else "no sharper"
    return (
        f"Without dividing by √{comparison.head_dim} = {root:.2f} the standard deviation of the "
        f"scores is {_times(unscaled.score_spread, scaled.score_spread)}, and attention is "
        f"{sharper}: its entropy is {unscaled.mean_entropy:.2f} nats instead of "
        f"{scaled.mean_entropy:.2f} (even: {comparison.largest_entropy:.2f}). The gradient that "
        "the softmax lets through to the scores is "
        f"{_times(unscaled.score_gradient_norm, scaled.score_gradient_norm)}."
    )


def _times(value: float, base: float) -> str:
    """Gives how large a value is beside another, in words."""
    if not base or not value:
        return f"{value:.3g} instead of {base:.3g}"
    return f"{value / base:.3g} times as large"
