"""Names of the files of a saved model, and of what is known of its training beside them."""

from __future__ import annotations

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"  # of weights in several files
TOKENIZER_FILE = "tokenizer.json"
TOKENIZER_CONFIG_FILE = "tokenizer_config.json"
ADAPTER_FILE = "adapter_config.json"
ADAPTER_WEIGHTS_FILE = "adapter_model.safetensors"

RECORD_FILE = "run.json"
COUNTS_FILE = "token_counts.json"
TRACE_FILE = "training_trace.json"
TRACE_PAGE = "training_trace.md"
# Of a search for settings: its trials, and what it chose.
TRIALS_FILE = "tuning.json"
TUNED_FILE = "tuned.yaml"
# Of a checkpoint; what `Trainer` writes last.
STATE_FILE = "trainer_state.json"
