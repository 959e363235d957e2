"""The tasks that a classifier can have, by transformers' names for them."""

from __future__ import annotations

from typing import Final, Literal

ProblemType = Literal["single_label_classification", "multi_label_classification", "regression"]
SINGLE: Final = "single_label_classification"
MULTI: Final = "multi_label_classification"
REGRESSION: Final = "regression"
