"""The sizes and rates of a single-head attention classifier, plain or folded, and their checks."""

# No `from __future__ import annotations` here: `strict` reads the annotations as types, and with
# that import they would be strings and every check would be off without a word.
import difflib
from typing import Any, ClassVar, Literal

from huggingface_hub.dataclasses import strict
from transformers import GenerationConfig, PreTrainedConfig
from transformers.utils import logging

logger = logging.get_logger(__name__)

_MOST_DISTANCE = 1_000_000
_SEVERAL_LABELS = "multi_label_classification"
_PROBLEM_TYPES = ("regression", "single_label_classification", _SEVERAL_LABELS)

# Keywords that transformers itself passes to a configuration and that are no fields of it.
_KEYWORDS_OF_TRANSFORMERS = frozenset(
    {
        "attn_implementation",
        "auto_map",
        "custom_pipelines",
        "experts_implementation",
        "model_type",
        "name_or_path",
        "num_labels",
        "output_attentions",
        "per_layer_config",
        "quantization_config",
        "tokenizer_class",
        "torch_dtype",
        "trust_remote_code",
        "use_cache",
    }
)


@strict
class HfAttnConfig(PreTrainedConfig):
    """The configuration of [`HfAttnModel`] and [`HfAttnForSequenceClassification`].

    Args:
        vocab_size: Rows of the token embedding; the tokenizer's length.
        hidden_size: Width D of token features and pooled texts.
        head_dim: Width K of the queries and keys of the one head.
        num_attention_heads: Always 1: with one head each weight has one reading.
        num_hidden_layers: Always 1: a second layer would mix tokens before the attention.
        relative_attention_num_buckets: Distances between two tokens are sorted into this many
            buckets, half for each direction, each with one learned score. 0 turns order off.
        relative_attention_max_distance: Distances from here on share the last bucket; at most a
            million.
        attention_window: How far to the left and to the right a token sees others, so that cost
            grows with the length of a text and not with its square; 0 for all the way.
        classifier_pooling: How a text's tokens are weighted in the pooled text: `"mean"` (all
            the same) or `"static"` (a softmax over a learned score of each token).
        ngram_buckets: Rows of the embedding of pairs of neighbouring tokens; 0 for none.
        ngram_slots: Slots that pairs are hashed into to find their row, where only known pairs have
            one; see `HfAttnModel.set_known_bigrams`. 0 to hash them into the rows themselves.
        token_dropout: Chance that a place is hidden, in all texts of a training batch.
        embedding_dropout: Dropout of the token features.
        attention_dropout: Dropout of the attention weights.
        classifier_dropout: Dropout of the pooled text.
        initializer_range: Standard deviation of fresh embeddings; fresh projections have one of
            `hidden_size ** -0.5`, so that attention starts even and can still learn.
        pad_token_id: The token that fills up a batch; its embedding stays 0.
        label_thresholds: For several labels, the probability from which on each counts as
            predicted, in the order of the logits; None for one half for all. Logits do not
            depend on them.

    Raises:
        StrictDataclassClassValidationError: If a value is out of range or two fields do not fit
            together (from `huggingface_hub.errors`).
        StrictDataclassFieldValidationError: If a field has the wrong type.

    Example:
        >>> HfAttnConfig(id2label={0: "ham", 1: "spam"}).label2id
        {'ham': 0, 'spam': 1}
    """

    model_type = "hf_attn"
    keys_to_ignore_at_inference: ClassVar[list[str]] = [
        "hidden_states",
        "attentions",
        "contributions",
        "direct_contributions",
        "context_contributions",
        "pool_weights",
        "attention_received",
        "bias",
        "query",
        "key",
        "attention_scores",
        "pool_scores",
        "direct_values",
        "context_values",
    ]
    base_model_fsdp_plan: ClassVar[dict[str, str]] = {
        "embeddings": "free_full_weight",
        "attention": "keep_full_weight",
    }

    vocab_size: int = 30_000
    hidden_size: int = 64
    head_dim: int = 32
    num_attention_heads: int = 1
    num_hidden_layers: int = 1
    relative_attention_num_buckets: int = 32
    relative_attention_max_distance: int = 128
    attention_window: int = 0
    classifier_pooling: Literal["mean", "static"] = "mean"
    ngram_buckets: int = 0
    ngram_slots: int = 0
    token_dropout: float | int = 0.0
    embedding_dropout: float | int = 0.0
    attention_dropout: float | int = 0.0
    classifier_dropout: float | int = 0.0
    initializer_range: float | int = 0.02
    pad_token_id: int | None = 0
    label_thresholds: list[float] | None = None
    tie_word_embeddings: bool = False

    def __post_init__(self, **kwargs: Any) -> None:
        """Completes the labels and warns of keywords that look like misspelt fields."""
        self._warn_of_misspelt_fields(kwargs)
        if self.id2label is None and self.label2id is not None:
            self.id2label = {int(index): name for name, index in self.label2id.items()}
        elif self.label2id is None and self.id2label is not None:
            self.label2id = {name: int(index) for index, name in self.id2label.items()}
        num_labels = kwargs.get("num_labels")
        if self.id2label is not None and num_labels not in (None, len(self.id2label)):
            raise ValueError(
                "num_labels must be the number of names in id2label, got num_labels="
                f"{num_labels!r} with {len(self.id2label)} names, id2label={self.id2label!r}."
            )
        super().__post_init__(**kwargs)

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """Gives the configuration of saved values; labels in the keywords replace saved ones."""
        cls._warn_of_another_window(config_dict, kwargs)
        given = {name: kwargs.pop(name) for name in ("id2label", "label2id") if name in kwargs}
        saved = config_dict.get("id2label") or {}
        if given or kwargs.get("num_labels", len(saved)) != len(saved):
            names = {"id2label": None, "label2id": None}
            config_dict = config_dict | names | given
        task = kwargs.get("problem_type")
        num_labels = len(next(iter(given.values()))) if given else kwargs.get("num_labels")
        if num_labels not in (None, len(saved)) or task not in (None, _SEVERAL_LABELS):
            config_dict = config_dict | {"label_thresholds": None}  # of another head or task
        return super().from_dict(config_dict, **kwargs)

    @staticmethod
    def _warn_of_another_window(config_dict: dict[str, Any], kwargs: dict[str, Any]) -> None:
        saved = config_dict.get("attention_window", 0)
        window = kwargs.get("attention_window", saved)
        if window != saved:
            logger.warning(
                f"attention_window={window!r} is not the {saved!r} that the model was trained with "
                "(0: all tokens). Each token sees others now: the logits of texts with more than "
                f"{min(filter(None, (window, saved))) + 1} tokens change, and their explanations "
                "are exactly those of the changed logits. Measure what it costs with "
                "`hf-attn evaluate`, or train with --attention-window."
            )

    def _warn_of_misspelt_fields(self, kwargs: dict[str, Any]) -> None:
        known = set(self.__dataclass_fields__) | _KEYWORDS_OF_TRANSFORMERS
        known |= set(GenerationConfig._get_default_generation_params())
        for name in kwargs:
            if name in known or name.startswith("_"):
                continue
            near = difflib.get_close_matches(name, sorted(known), n=1)
            hint = f" Did you mean `{near[0]}`?" if near else ""
            logger.warning(
                f"{type(self).__name__} has no field `{name}` (value {kwargs[name]!r}); it is "
                f"stored, and changes nothing.{hint}"
            )

    @property
    def class_names(self) -> list[str]:
        """The names of the classes, in the order of the logits."""
        names = self.id2label or {}
        return [names[index] for index in sorted(names, key=int)]  # type: ignore[index]

    # The base refuses attentions unless the implementation is "eager", since a fused kernel has
    # none to give. This model has one computation whatever the name, so both ways are open.
    @property
    def output_attentions(self) -> bool | None:
        """Whether the model returns its attention weights."""
        return self._output_attentions

    @output_attentions.setter
    def output_attentions(self, value: bool | None) -> None:
        self._output_attentions = value

    def validate_output_attentions(self) -> None:
        """Attentions are there under every implementation that the model accepts."""

    def validate_sizes(self) -> None:
        """Sizes are at least 1, counts of optional things at least 0."""
        for name in ("vocab_size", "hidden_size", "head_dim"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)!r}.")
        for name, meaning in (
            ("ngram_buckets", "no bigrams"),
            ("ngram_slots", "pairs are hashed into rows"),
            ("attention_window", "all tokens"),
        ):
            if getattr(self, name) < 0:
                raise ValueError(
                    f"{name} must be 0 ({meaning}) or more, got {getattr(self, name)!r}."
                )
        if self.ngram_slots and not self.ngram_buckets:
            raise ValueError(
                f"ngram_slots={self.ngram_slots!r} hold rows of bigrams, and ngram_buckets=0 "
                "leaves none. Leave ngram_slots out, or set ngram_buckets."
            )
        if self.pad_token_id is not None and not 0 <= self.pad_token_id < self.vocab_size:
            raise ValueError(
                f"pad_token_id must be a row of the embedding, 0 to vocab_size - 1, got "
                f"pad_token_id={self.pad_token_id!r} with vocab_size={self.vocab_size!r}."
            )

    def validate_single_head(self) -> None:
        """One layer with one head is what makes every logit a sum over tokens."""
        for name in ("num_attention_heads", "num_hidden_layers"):
            if getattr(self, name) != 1:
                raise ValueError(
                    f"{name} must be 1, got {getattr(self, name)!r}: with more, logits would no "
                    "longer be sums over tokens. For a wider model raise hidden_size or head_dim."
                )

    def validate_relative_attention(self) -> None:
        """Buckets split evenly between the directions, and some of them are left for far ones."""
        buckets, distance = (
            self.relative_attention_num_buckets,
            self.relative_attention_max_distance,
        )
        if buckets == 0:
            return
        if buckets < 4 or buckets % 2:
            raise ValueError(
                "relative_attention_num_buckets must be 0 (off) or an even number from 4 on, got "
                f"{buckets!r}."
            )
        if distance <= buckets // 4:
            raise ValueError(
                "relative_attention_max_distance must be above a quarter of "
                "relative_attention_num_buckets (that many near distances have a bucket of "
                f"their own), got max_distance={distance!r} with num_buckets={buckets!r}."
            )
        if distance > _MOST_DISTANCE:
            raise ValueError(
                f"relative_attention_max_distance must be at most {_MOST_DISTANCE:,}, got "
                f"{distance!r}: the bucket of each distance up to it is kept in a table."
            )

    def validate_rates(self) -> None:
        """Dropouts lie in [0, 1), the spread of fresh weights is positive."""
        for name in ("token", "embedding", "attention", "classifier"):
            rate = getattr(self, f"{name}_dropout")
            if not 0 <= rate < 1:
                raise ValueError(f"{name}_dropout must be in [0, 1), got {rate!r}.")
        if self.initializer_range <= 0:
            raise ValueError(f"initializer_range must be above 0, got {self.initializer_range!r}.")

    def validate_problem_type(self) -> None:
        """The base class declares these values but does not check them."""
        if self.problem_type is not None and self.problem_type not in _PROBLEM_TYPES:
            raise ValueError(
                f"problem_type must be None or one of {', '.join(_PROBLEM_TYPES)}, got "
                f"{self.problem_type!r}."
            )

    def validate_labels(self) -> None:
        """The two label maps are each other's inverse."""
        if self.id2label is None or self.label2id is None:
            return
        if sorted(map(int, self.id2label)) != list(range(len(self.id2label))):
            raise ValueError(
                f"id2label must number the classes from 0 without a gap, got {self.id2label!r}."
            )
        inverse = {name: int(index) for index, name in self.id2label.items()}
        if len(inverse) != len(self.id2label) or inverse != self.label2id:
            raise ValueError(
                "id2label and label2id must be each other's inverse, with distinct names, got "
                f"id2label={self.id2label!r} with label2id={self.label2id!r}. Give only one of "
                "them and the other is filled in."
            )

    def validate_label_thresholds(self) -> None:
        """Each of several labels has a threshold that a probability can be above and below."""
        thresholds = self.label_thresholds
        if thresholds is None:
            return
        if self.problem_type not in (None, _SEVERAL_LABELS):
            raise ValueError(
                f"label_thresholds are for problem_type={_SEVERAL_LABELS!r}, got "
                f"{self.problem_type!r}. Leave label_thresholds out."
            )
        if len(thresholds) != len(self.class_names):
            raise ValueError(
                "label_thresholds must hold a number for each label, got "
                f"{len(thresholds)} for {len(self.class_names)}. Give one for each, or None for "
                "one half for all."
            )
        for name, threshold in zip(self.class_names, thresholds, strict=True):
            if not 0 < threshold < 1:
                raise ValueError(
                    "label_thresholds must be probabilities above 0 and below 1, got "
                    f"{threshold!r} for {name!r}."
                )


@strict
class HfAttnFoldedConfig(HfAttnConfig):
    """The configuration of [`HfAttnFoldedForSequenceClassification`].

    It has the fields of the model that was folded; its dropouts are gone with the training.

    Args:
        table_dtype: What the tables hold: `"float32"`, `"float16"`, or `"int8"` with one factor for
            each row.

    Raises:
        StrictDataclassClassValidationError: As [`HfAttnConfig`] does.
        StrictDataclassFieldValidationError: If a field has the wrong type or no known value.
    """

    model_type = "hf_attn_folded"
    base_model_fsdp_plan: ClassVar[dict[str, str]] = {}

    table_dtype: Literal["float32", "float16", "int8"] = "float32"

    @property
    def value_width(self) -> int:
        """Width of the tables of values: class logits, or features where those are fewer."""
        return min(len(self.class_names), self.hidden_size)


__all__ = ["HfAttnConfig", "HfAttnFoldedConfig"]
