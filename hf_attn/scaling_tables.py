"""A comparison of attention with and without 1/√K as tables side by side."""

from __future__ import annotations

from typing import Any

from .problem_types import REGRESSION
from .scaling import Attending, ScalingComparison
from .trace_parts import Column, Grid, Section, TraceView, kind_of


def comparison_view(trace: ScalingComparison) -> TraceView:
    """Gives what is shown of a comparison."""
    root = f"√{trace.head_dim} = {trace.head_dim**0.5:.2f}"
    both = (trace.with_scaling, trace.without_scaling)
    texts = (trace.text,) if trace.pair is None else (trace.text, trace.pair)
    return TraceView(
        title=f"What dividing the scores by {root} does",
        lead=trace.observation,
        notes=trace.notes,
        sections=(
            Section(None, "Side by side", "", "", "", None, texts, (_measures(trace),)),
            _both("Scores", "s_ij, before the softmax", "scores", both, trace),
            _both("Attention weights", "A_ij = softmax of a row of scores", "weights", both, trace),
        ),
    )


def _measures(trace: ScalingComparison) -> Grid:
    """Gives what can be said of both ways in a number each."""
    target = trace.class_names.index(trace.target)
    is_regression = trace.explanation.problem_type == REGRESSION
    even = f" (even: {trace.largest_entropy:.2f})"
    rows: list[tuple[str, str, Any]] = [
        ("scores: standard deviation", ".2f", lambda one: one.score_spread),
        ("attention: largest weight, mean", ".2f", lambda one: one.largest_weight),
        (f"attention: entropy in nats, mean{even}", ".2f", lambda one: one.mean_entropy),
        ("gradient at the scores, length", ".3g", lambda one: one.score_gradient_norm),
        ("gradient at W_q and W_k, length", ".3g", lambda one: one.weight_gradient_norm),
        (
            f"{'value' if is_regression else 'probability'} of {trace.target}",
            ".3f" if is_regression else ".1%",
            lambda one: one.probabilities[target],
        ),
    ]
    columns = [
        Column(name, [format(measure(one), form) for _, form, measure in rows], "text")
        for name, one in (
            ("with 1/√K", trace.with_scaling),
            ("without 1/√K", trace.without_scaling),
        )
    ]
    return Grid("", "", [name for name, _, _ in rows], columns, "", len(rows), 2)


def _both(
    heading: str,
    formula: str,
    name: str,
    both: tuple[Attending, Attending],
    trace: ScalingComparison,
) -> Section:
    """Gives one matrix of both ways, each on its own scale."""
    names = trace.token_names
    grids = []
    if names:
        for one, how in zip(both, ("with 1/√K", "without 1/√K"), strict=True):
            values = getattr(one, name)
            kind, scale = kind_of(name, values)
            columns = [Column(n, values[:, place], kind, scale) for place, n in enumerate(names)]
            adds_up = name == "weights"
            grids.append(
                Grid(
                    f"{heading} {how}", "tokens", names, columns, "tokens", len(names), len(names),
                    adds_up=adds_up,
                )
            )  # fmt: skip
    return Section(None, heading, "", formula, "", None, (), tuple(grids))
