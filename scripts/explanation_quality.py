"""How faithful and how stable attributions are: ours and the rivals', on the same texts."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

import numpy as np
from benchmark_figures import Figure, Measured, Part, Values, compare, pool_seeds, to_table
from benchmark_training import say
from explanation_setup import SETS, TWO_CLASSES, Setup, evenly_spaced
from rival_attributions import (
    ATTENTION,
    GRADIENTS,
    LIME,
    METHODS,
    OURS,
    RANDOM,
    SHAP,
    Case,
    Method,
    gradient_x_input,
    integrated_gradients,
    mean_embedding,
    rerun_without_each,
    zero_embedding,
)

from hf_attn.faithfulness import (
    Array,
    completeness_error,
    comprehensiveness,
    rank_correlation,
    stability,
    sufficiency,
)

STABILITY_SEEDS = 5
STABILITY_TEXTS = 100
TRIAL_TEXTS = 200
COLUMNS = {
    "comprehensiveness": "comprehensiveness ↑",
    "sufficiency": "sufficiency ↓",
    "comprehensiveness, masking": "comprehensiveness, masking ↑",
    "sufficiency, masking": "sufficiency, masking ↓",
    "tau": "Kendall τ with leave-one-out ↑",
    "milliseconds": "ms a text",
}
BASELINES: dict[str, Method] = {
    "integrated gradients from the mean": integrated_gradients,
    "integrated gradients from 0": partial(integrated_gradients, baseline=zero_embedding),
    "gradient × (input − mean)": gradient_x_input,
    "gradient × input": partial(gradient_x_input, baseline=zero_embedding),
}


class Attributed(NamedTuple):
    """What a method says of one text: attributions (W,), and what they took in milliseconds."""

    values: Array
    milliseconds: float


def measure_faithfulness(name: str, setup: Setup) -> Part:
    """Measures what each method's order of words does to the prediction, on one set."""
    measured, errors = [], []
    for seed in setup.seeds:
        cases = setup.cases(name, seed)
        say(f"attributing {len(cases)} texts of {name}, seed {seed}")
        attributed = [(case, _attribute(case, METHODS)) for case in cases]
        measured.append([_faithfulness(case, found) for case, found in attributed])
        errors.append([_completeness(case, found) for case, found in attributed])
    values = pool_seeds(measured)
    table = to_table(f"{SETS[name]}: faithfulness", values, COLUMNS)
    figures = _faithfulness_figures(name, values) + _completeness_figures(name, pool_seeds(errors))
    words = float(np.mean([case.num_words for case in cases]))
    return Part(figures, [table], {"texts": len(cases), "words a text": round(words, 1)})


def _attribute(case: Case, methods: Mapping[str, Method]) -> dict[str, Attributed]:
    """Gives the attributions of each method and its milliseconds, for this text alone."""
    found = {}
    for name, method in methods.items():
        started = time.perf_counter()
        values = method(case)
        found[name] = Attributed(values, 1000 * (time.perf_counter() - started))
    return found


def _faithfulness(case: Case, attributed: Mapping[str, Attributed]) -> Measured:
    effects = rerun_without_each(case)
    return {
        name: {
            "comprehensiveness": comprehensiveness(values, case.kept.probability),
            "sufficiency": sufficiency(values, case.kept.probability),
            "comprehensiveness, masking": comprehensiveness(values, case.masked.probability),
            "sufficiency, masking": sufficiency(values, case.masked.probability),
            "tau": rank_correlation(values, effects),
            "milliseconds": milliseconds,
        }
        for name, (values, milliseconds) in attributed.items()
    }


def _faithfulness_figures(name: str, values: Values) -> list[Figure]:
    """Compares with the better of each package's two scores, and with what knows no class."""

    def better(package: str) -> str:
        of_package = [method for method in values if method.startswith(package)]
        return max(of_package, key=lambda one: float(values[one]["comprehensiveness"].mean()))

    goals = {
        GRADIENTS: -0.01,
        better(SHAP): 0.0,
        better(LIME): 0.0 if name in TWO_CLASSES else None,
        ATTENTION: 0.1,
        RANDOM: 0.1,
    }
    return [
        compare(SETS[name], "comprehensiveness", values, (OURS, other), goal)
        for other, goal in goals.items()
    ]


def _completeness(case: Case, attributed: Mapping[str, Attributed]) -> Measured:
    """Gives how far the methods that claim to add up to a score are from doing so."""
    reading = case.reading(deletion_effects=False)
    start = mean_embedding(case).expand_as(case.embeddings)
    without, whole = (float(case.margin(place)) for place in (start, case.embeddings))
    all_or_none = np.array([[False], [True]]).repeat(case.num_words, axis=1)
    nothing, everything = case.kept.probability(all_or_none).tolist()
    errors = {
        OURS: completeness_error(attributed[OURS].values, reading.bias, reading.logit),
        GRADIENTS: completeness_error(attributed[GRADIENTS].values, without, whole),
        SHAP: completeness_error(attributed[SHAP].values, nothing, everything),
    }
    return {method: {"error": error} for method, error in errors.items()}


def _completeness_figures(name: str, errors: Values) -> list[Figure]:
    """Gives the largest error of each method over all texts and seeds."""
    units = {OURS: "in logits", GRADIENTS: "in logits", SHAP: "in probability"}
    figures = []
    for method, unit in units.items():
        what = f"{SETS[name]}: largest completeness error of {method}, {unit}"
        goal = 1e-5 if method == OURS else None
        figures.append(Figure(what, float(errors[method]["error"].max()), "error", None, goal))
    return figures


def measure_baselines(setup: Setup) -> Part:
    """Tries on validation texts where gradients of embeddings had better start from."""
    tables = []
    for name, title in SETS.items():
        cases = evenly_spaced(setup.cases(name, setup.seeds[0], "validation"), TRIAL_TEXTS)
        measured = [_faithfulness(case, _attribute(case, BASELINES)) for case in cases]
        values = pool_seeds([measured])
        title = f"{title}: trial of baselines, {len(cases)} validation texts"
        tables.append(to_table(title, values, COLUMNS))
    return Part(tables=tables)


def measure_stability(setup: Setup) -> Part:
    """Measures how alike the orders are that models of other seeds give to the same words.

    All explain the class that the first one predicts.
    """
    by_set = {name: _stability(name, setup) for name in SETS}
    values = {
        method: {name: by_set[name][method]["stability"] for name in SETS}
        for method in METHODS
        if method != RANDOM
    }
    title = f"Stability: mean Kendall τ between {STABILITY_SEEDS} seeds ↑"
    return Part(tables=[to_table(title, values, SETS)], notes={"texts": STABILITY_TEXTS})


def _stability(name: str, setup: Setup) -> Values:
    say(f"attributing for stability on {name}")
    cases = evenly_spaced(setup.cases(name, 0), STABILITY_TEXTS)
    models = [setup.load(name, seed) for seed in range(STABILITY_SEEDS)]
    measured = []
    for case in cases:
        same = [Case.of(case.text, *model, target=case.kept.target) for model in models]
        measured.append(
            {
                method: {"stability": stability([attribute(one) for one in same])}
                for method, attribute in METHODS.items()
                if method != RANDOM
            }
        )
    return pool_seeds([measured])
