"""What the numbers of a training say, in words, each rule with its threshold.

A rule looks at epochs that are over, so an observation is the same live and read later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .training_trace import AttentionSample, EpochTrace, TrainingTrace

# exp(entropy) is the number of tokens that attention is in effect spread over: this is 5 % of it.
LEAST_ENTROPY_CHANGE = 0.05
# A plateau: changes below both, in this many epochs one after the other.
LEAST_LOSS_CHANGE = 0.01
LEAST_SCORE_CHANGE = 0.005
PLATEAU_EPOCHS = 2
# Overfitting: the validation loss is so much above its lowest, while the training loss fell.
OVERFITTING_RISE = 0.05
# Divergence: the training loss is above its lowest by so much of what it was in the first epoch.
DIVERGENCE_RISE = 0.25

_METRICS = {"accuracy": "accuracy", "micro_f1": "micro-F1", "pearson": "Pearson correlation"}
_NO_SHARES = {"pearson"}
_FIELDS = {
    "loss": "training loss",
    "validation_loss": "validation loss",
    "score": "score",
    "attention_entropy": "attention",
}


def metric_in_words(metric: str | None) -> str:
    """Gives the name of the score as it stands in a sentence."""
    return "score" if metric is None else _METRICS.get(metric, metric.replace("_", " "))


def score_in_words(score: float, metric: str | None) -> str:
    """Gives a score: "94.5 %", or for a correlation "0.945"."""
    return f"{score:.3f}" if metric in _NO_SHARES else f"{100 * score:.1f} %"


def observe(
    epochs: Sequence[EpochTrace], metric: str | None, sample: AttentionSample | None = None
) -> str:
    """Gives what the last of the epochs says beside those before it.

    Args:
        epochs: The epochs up to the one to observe, at least that one.
        metric: Name of the score.
        sample: What attention was measured on, for what even attention would give.
    """
    now = epochs[-1]
    parts = [
        ", ".join(_changes(epochs, metric)),
        _attention(epochs, sample),
        warning(epochs) or "",
    ]
    said = "; ".join(part for part in parts if part)
    return said or f"nothing was logged in epoch {now.epoch:g}"


def warning(epochs: Sequence[EpochTrace]) -> str | None:
    """Gives the one rule of divergence, overfitting and plateau that holds, or None."""
    return divergence(epochs) or overfitting(epochs) or plateau(epochs)


def divergence(epochs: Sequence[EpochTrace]) -> str | None:
    """Says that values are not finite, or that the training loss rose far above its lowest."""
    now = epochs[-1]
    if now.not_finite:
        what = ", ".join(_FIELDS[name] for name in now.not_finite if name in _FIELDS)
        return f"divergence: not a finite number: {what}; try a lower learning rate"
    known = [one for one in epochs if one.loss is not None]
    if now.loss is None or len(known) < 2:
        return None
    lowest = min(known, key=_loss)
    if now.loss - _loss(lowest) <= DIVERGENCE_RISE * _loss(known[0]):
        return None
    return (
        f"divergence: loss rose from {_number(_loss(lowest))} in epoch {lowest.epoch:g} to "
        f"{_number(now.loss)}; try a lower learning rate"
    )


def overfitting(epochs: Sequence[EpochTrace]) -> str | None:
    """Says that the validation loss is above its lowest although the training loss fell since."""
    now = epochs[-1]
    known = [one for one in epochs if one.validation_loss is not None]
    if now.validation_loss is None or now.loss is None:
        return None
    best = min(known, key=_validation_loss)
    lowest = _validation_loss(best)
    rise = now.validation_loss - lowest
    if best.loss is None or now.loss >= best.loss or rise <= OVERFITTING_RISE * lowest:
        return None
    how_much = f"{_percent(rise / lowest)} above" if lowest > 0 else "above"
    return (
        f"overfitting: validation loss {how_much} that of epoch {best.epoch:g}, while training "
        f"loss fell from {_number(best.loss)} to {_number(now.loss)}"
    )


def plateau(epochs: Sequence[EpochTrace]) -> str | None:
    """Says that loss and score have hardly changed in the last epochs."""
    last = epochs[-PLATEAU_EPOCHS - 1 :]
    if len(last) <= PLATEAU_EPOCHS:
        return None
    on_validation = last[-1].validation_loss is not None
    losses = [one.validation_loss if on_validation else one.loss for one in last]
    scores = [one.score for one in last]
    for before, now in pairwise(losses):
        if before is None or now is None or abs(now - before) >= LEAST_LOSS_CHANGE * abs(before):
            return None
    for before, now in pairwise(scores):
        if before is not None and now is not None and abs(now - before) >= LEAST_SCORE_CHANGE:
            return None
    which = "validation loss" if on_validation else "training loss"
    return (
        f"plateau: {which} changed by less than {LEAST_LOSS_CHANGE:.0%} in each of the last "
        f"{PLATEAU_EPOCHS} epochs"
    ).replace("%", " %")


def summarize(trace: TrainingTrace) -> tuple[str, ...]:
    """Gives up to three sentences on the whole run: learning, attention, and what went wrong."""
    if not trace.epochs:
        return ()
    return tuple(_sentences(trace))


def _sentences(trace: TrainingTrace) -> Iterator[str]:
    count = len(trace.epochs)
    parts = []
    losses = [one.loss for one in trace.epochs if one.loss is not None]
    if losses:
        parts.append(f"loss {_from_to(losses, _number)}")
    scores = [one.score for one in trace.epochs if one.score is not None]
    if scores:
        shown = _from_to(scores, lambda score: score_in_words(score, trace.metric))
        parts.append(f"{metric_in_words(trace.metric)} {shown}")
    if parts:
        yield f"In {count} epoch{'' if count == 1 else 's'}: {', '.join(parts)}."
    yield from _sentence_on_attention(trace)
    for number in range(
        1, count + 1
    ):  # of a divergence the first epoch tells, of all else the last
        found = divergence(trace.epochs[:number])
        if found is not None:
            yield f"Epoch {trace.epochs[number - 1].epoch:g}: {found}."
            return
    found = warning(trace.epochs)
    if found is not None:
        yield f"At the end: {found}."


def _sentence_on_attention(trace: TrainingTrace) -> Iterator[str]:
    known = [one for one in trace.epochs if one.attention_entropy is not None]
    if not known:
        return
    entropies = [one.attention_entropy or 0.0 for one in known]
    shares = [one.attention_share for one in known if one.attention_share is not None]
    change = entropies[-1] - entropies[0]
    how = "stayed as it was"
    if abs(change) >= LEAST_ENTROPY_CHANGE:
        how = "spread" if change > 0 else "concentrated"
    # An untrained model attends evenly, so most may have changed before the first epoch ended.
    begin = f"Since epoch {known[0].epoch:g} attention {how}" if len(known) > 1 else "Attention"
    even = "" if trace.sample is None else f" (even attention: {trace.sample.even_entropy:.2f})"
    said = f"{begin}: entropy {_from_to(entropies, '{:.2f}'.format)} nats{even}"
    if shares:
        said += f", share of the most attended {trace.unit} {_from_to(shares, _percent)}"
    yield f"{said}."


def _changes(epochs: Sequence[EpochTrace], metric: str | None) -> Iterator[str]:
    now = epochs[-1]
    name = metric_in_words(metric)
    if len(epochs) == 1:
        if now.loss is not None:
            yield f"begins with loss {_number(now.loss)}"
        if now.score is not None:
            yield f"{name} {score_in_words(now.score, metric)}"
        return
    before = epochs[-2]
    if now.loss is not None and before.loss is not None:
        if before.loss > 0:
            yield f"loss {_signed(100 * (now.loss / before.loss - 1))} %"
        else:
            yield f"loss {_number(before.loss)} → {_number(now.loss)}"
    if now.score is not None and before.score is not None:
        change = now.score - before.score
        if metric in _NO_SHARES:
            yield f"{name} {_minus(f'{change:+.3f}')}"
        else:
            yield f"{name} {_signed(100 * change)} points"


def _attention(epochs: Sequence[EpochTrace], sample: AttentionSample | None) -> str:
    now = epochs[-1].attention_entropy
    before = epochs[-2].attention_entropy if len(epochs) > 1 else None
    if now is None:
        return ""
    if before is None:
        even = "" if sample is None else f", where even attention has {sample.even_entropy:.2f}"
        return f"attention entropy {now:.2f} nats{even}"
    if abs(now - before) < LEAST_ENTROPY_CHANGE:
        return f"attention is steady: entropy {now:.2f} nats"
    how = "concentrating" if now < before else "spreading"
    return f"attention is {how}: entropy {before:.2f} → {now:.2f} nats"


def _loss(one: EpochTrace) -> float:
    return float("inf") if one.loss is None else one.loss


def _validation_loss(one: EpochTrace) -> float:
    return float("inf") if one.validation_loss is None else one.validation_loss


def _from_to(values: Sequence[float], write: Callable[[float], str]) -> str:
    first, last = write(values[0]), write(values[-1])
    return first if len(values) == 1 else f"{first} → {last}"


def _number(value: float) -> str:
    """Writes a loss with three digits."""
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.1f} %"


def _signed(value: float) -> str:
    """Writes a change with its sign: "−25", "+2.7", "±0"."""
    text = f"{value:+.0f}" if abs(value) >= 9.95 else f"{value:+.1f}"
    return "±0" if float(text) == 0 else _minus(text)


def _minus(text: str) -> str:
    return text.replace("-", "−")
