"""The tasks that a classifier can have, by transformers' names for them."""

from __future__ import annotations

from typing import Any, Final, Literal, cast

ProblemType = Literal["single_label_classification", "multi_label_classification", "regression"]
SINGLE: Final = "single_label_classification"
MULTI: Final = "multi_label_classification"
REGRESSION: Final = "regression"
# The validation score that picks the best epoch.
MAIN_METRIC: Final = {SINGLE: "accuracy", MULTI: "micro_f1", REGRESSION: "pearson"}


def problem_type_of(config: Any) -> ProblemType:
    """Gives the task of a configuration; where it is not set, what the loss would take it for."""
    if config.problem_type is not None:
        return cast(ProblemType, config.problem_type)
    return SINGLE if len(config.class_names) > 1 else REGRESSION
