"""Turns text into tokens: a vocabulary of words or sub-words, learned from the training texts."""

import difflib
import json
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from tokenizers import (
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import TokenizersBackend

ALGORITHMS = ("word", "wordpiece", "bpe", "unigram")
PAD, UNK, SEP = SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[SEP]")

# A sub-word that continues a word. Words never start with it, as `#` is always a token of its own.
_CONTINUATION = "##"

# What a word is made of. Scripts that put no space between words give one token a character.
_SPACED = r"(?![\p{Han}\p{Hiragana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}])"
_MARK = "[\\p{M}\u200c\u200d]"  # accents, vowel signs, joiners: go with the character before
_PART = rf"(?:{_SPACED}[\p{{L}}\p{{N}}_]{_MARK}*)"
_WORD = (
    rf"{_PART}+"
    rf"(?:(?<=\p{{Nd}})[.,](?=\p{{Nd}}){_PART}+)*"  # 3.14, 1,000
    rf"(?:'(?:{_SPACED}\p{{L}}){{1,2}}(?!{_PART}|{_MARK}))?"  # don't, we'll; not l'homme
)
# Else one visible character as a reader counts them: a mark, a kanji, an emoji with its modifiers.
_TOKEN = rf"{_WORD}|(?![\s\p{{Cc}}\p{{Cf}}])\X"
# What separates for sure: invisible, and neither a joiner nor a flag's letter inside an emoji.
_GAP = "[[\\s\\p{Cc}\\p{Cf}]&&[^\u200c\u200d\U000e0020-\U000e007f]]+"


class HfAttnTokenizer(TokenizersBackend):
    """A fast tokenizer with `[PAD]` (0), `[UNK]` (1), and `[SEP]` (2) between a text and its pair.

    `train_from_iterator` makes one. Nothing is added to a single text, so an empty one has no
    tokens. Any other fast tokenizer can take its place beside the model.

    Four algorithms share one way to split a text. Words keep their number points (`3.14`) and
    endings of one or two letters after an apostrophe (`don't`, `we'll`); each other visible
    character stands alone. White space and invisible control characters separate.

    | algorithm | tokens of "unbelievable!" | what is unknown |
    |---|---|---|
    | `word` | `unbelievable` `!` | a word outside the vocabulary becomes `[UNK]` |
    | `wordpiece` | `un` `##believ` `##able` `!` | a word with an unknown character does |
    | `bpe` | `un` `##believ` `##able` `!` | each unknown character does |
    | `unigram` | `▁un` `believ` `able` `!` | each run of unknown characters does |

    Before that, text is put into Unicode's composed form (NFC), curly apostrophes become straight,
    soft hyphens go and letters are lower-cased. Offsets count characters of the text as given, and
    a token's slice is what was read there. Only where that text spells an accent as a character of
    its own may a slice end just before it. A `▁` on its own shares the slice of its neighbour.
    """

    model_input_names = ["input_ids", "attention_mask"]  # noqa: RUF012, transformers' own form

    @classmethod
    def train_from_iterator(
        cls,
        texts: Iterable[str],
        *,
        algorithm: str = "word",
        vocab_size: int = 30_000,
        min_frequency: int = 1,
        lowercase: bool = True,
        strip_accents: bool = False,
        model_max_length: int = 8192,
        **kwargs: Any,
    ) -> "HfAttnTokenizer":
        """Gives a tokenizer whose vocabulary is learned from texts, always the same for the same.

        Sub-words need the texts twice and hold them in memory; `word` reads them once.

        Args:
            texts: Training texts, in any iterable of strings, a generator included.
            algorithm: `word`, `wordpiece`, `bpe` or `unigram`.
            vocab_size: Most tokens to keep, the three special ones included.
            min_frequency: Times a word, or for `wordpiece` and `bpe` a merged pair, must occur.
            lowercase: Whether `The` and `the` are one word.
            strip_accents: Whether `é` and `e` are one letter; for Latin, Greek and Cyrillic.
            model_max_length: Tokens that `truncation=True` keeps of a text.
            **kwargs: Passed to the tokenizer, such as `padding_side`.

        Returns:
            The trained tokenizer.

        Raises:
            TypeError: If `texts` is one string, or no iterable, or holds anything but strings.
            ValueError: If a setting is out of range, or no token could be learned from the texts.

        Source:
            Sennrich et al. 2016 (`bpe`), Schuster & Nakajima 2012 (`wordpiece`), Kudo 2018
            (`unigram`).
        """
        _check_settings(algorithm, vocab_size, min_frequency, model_max_length)
        backend = _build_backend(algorithm, lowercase=lowercase, strip_accents=strip_accents)
        backend = _train(backend, _checked(texts), algorithm, vocab_size, min_frequency)
        backend.post_processor = processors.TemplateProcessing(
            single="$A", pair=f"$A {SEP} $B:1", special_tokens=[(SEP, SPECIAL_TOKENS.index(SEP))]
        )
        return cls(
            tokenizer_object=backend,
            model_max_length=model_max_length,
            pad_token=PAD,
            unk_token=UNK,
            sep_token=SEP,
            **kwargs,
        )


def _check_settings(
    algorithm: str, vocab_size: int, min_frequency: int, model_max_length: int
) -> None:
    """Refuses settings that no texts could be trained with."""
    if algorithm not in ALGORITHMS:
        near = difflib.get_close_matches(str(algorithm).lower(), ALGORITHMS, n=1)
        guess = f" Did you mean algorithm={near[0]!r}?" if near else ""
        raise ValueError(f"algorithm must be one of {ALGORITHMS}, not {algorithm!r}.{guess}")
    for name, value, least, reason in (
        ("vocab_size", vocab_size, len(SPECIAL_TOKENS) + 1, f"{SPECIAL_TOKENS} and one word"),
        ("min_frequency", min_frequency, 1, "a word that never occurs cannot be learned"),
        ("model_max_length", model_max_length, 1, "a text keeps one token or more"),
    ):
        if not isinstance(value, int) or isinstance(value, bool):
            raise TypeError(f"{name} must be a whole number, not {value!r}: pass {name}={least}.")
        if value < least:
            raise ValueError(f"{name} must be {least} or more ({reason}), not {value!r}.")
    if algorithm == "unigram" and min_frequency > 1:
        raise ValueError(
            f"algorithm='unigram' keeps sub-words by likelihood, so min_frequency={min_frequency!r}"
            " has no meaning: leave it out and lower vocab_size instead."
        )


def _checked(texts: Iterable[str]) -> Iterator[str]:
    """Yields the texts, and raises an error that names the first which is no proper string."""
    if isinstance(texts, (str, bytes)) or not isinstance(texts, Iterable):
        raise TypeError(
            f"texts must be an iterable of strings, not {type(texts).__name__} {texts!r:.60}: "
            "put a single text into a list, texts=[text]."
        )
    index = -1
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(
                f"texts[{index}] must be a string, not {type(text).__name__} {text!r:.60}: "
                "drop it or convert it with str(...)."
            )
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise ValueError(
                f"texts[{index}] must be valid Unicode, but has {text[error.start]!r} at position "
                f"{error.start}: read it again with encoding='utf-8', errors='replace'."
            ) from error
        yield text
    if index < 0:
        raise ValueError("texts must hold at least one text, but is empty: pass training texts.")


def _build_backend(algorithm: str, *, lowercase: bool, strip_accents: bool) -> Tokenizer:
    """Gives an untrained tokenizer: normalise, split, look up, and put text together again."""
    prefix = _CONTINUATION
    if algorithm == "word":
        backend = Tokenizer(models.WordLevel(unk_token=UNK))
        prefix = " "  # no token starts with one: whole words continue nothing
    elif algorithm == "wordpiece":
        backend = Tokenizer(models.WordPiece(unk_token=UNK))
    elif algorithm == "bpe":
        backend = Tokenizer(models.BPE(unk_token=UNK, continuing_subword_prefix=prefix))
    else:
        backend = Tokenizer(models.Unigram())
    backend.normalizer = _build_normalizer(lowercase=lowercase, strip_accents=strip_accents)
    if algorithm == "unigram":
        backend.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(_GAP), "removed"),
                pre_tokenizers.Metaspace(prepend_scheme="always", split=False),
                pre_tokenizers.Split(Regex(f"▁?(?!▁)(?:{_TOKEN})"), "removed", invert=True),
            ]
        )
        backend.decoder = decoders.Metaspace()
    else:
        backend.pre_tokenizer = pre_tokenizers.Split(Regex(_TOKEN), "removed", invert=True)
        backend.decoder = decoders.Sequence(
            [
                decoders.WordPiece(prefix=prefix, cleanup=False),
                decoders.Fuse(),
                decoders.Replace(Regex(r" (?=[.,!?;:%…)\]}])|(?<=[(\[{]) "), ""),
            ]
        )
    return backend


def _build_normalizer(*, lowercase: bool, strip_accents: bool) -> normalizers.Normalizer:
    """Returns what makes different spellings of a word one, with offsets into the original."""
    steps = [
        normalizers.NFC(),
        normalizers.Replace("\u00ad", ""),
        normalizers.Replace("\u2019", "'"),
    ]
    if strip_accents:
        # Decomposed, an accent is a character. In other scripts such marks can be vowels.
        accents = Regex(r"(?<=[\p{Latin}\p{Greek}\p{Cyrillic}])\p{Mn}+")
        steps = [normalizers.NFD(), normalizers.Replace(accents, ""), *steps]
    if lowercase:
        # Lower-casing a dotted İ leaves its dot behind as a mark of its own.
        steps += [normalizers.Lowercase(), normalizers.Replace("i\u0307", "i")]
    return normalizers.Sequence(steps)


def _train(
    backend: Tokenizer,
    texts: Iterator[str],
    algorithm: str,
    vocab_size: int,
    min_frequency: int,
) -> Tokenizer:
    """Gives the backend with the vocabulary learned from the texts."""
    special = list(SPECIAL_TOKENS)
    if algorithm == "word":
        _train_words(backend, texts, vocab_size, min_frequency)
        return backend
    texts_twice = list(texts)
    alphabet, continuing = _alphabet(backend, texts_twice)
    # The unigram trainer keeps to its limit only with room for one piece beyond the characters.
    least = len(special) + len(alphabet) + (1 if algorithm == "unigram" else len(continuing))
    if vocab_size < least:
        raise ValueError(
            f"vocab_size={vocab_size!r} has no room for each character of the texts: "
            f"algorithm={algorithm!r} needs vocab_size={least} or more."
        )
    trainer: trainers.Trainer
    if algorithm == "unigram":
        trainer = trainers.UnigramTrainer(
            vocab_size=vocab_size, special_tokens=special, unk_token=UNK, show_progress=False
        )
    else:
        kind = trainers.BpeTrainer if algorithm == "bpe" else trainers.WordPieceTrainer
        # The trainer numbers continuing characters in the order of a hash map and breaks ties by
        # number. Told of them beforehand, in order, it learns the same each time.
        trainer = kind(
            vocab_size=vocab_size,
            min_frequency=min_frequency,
            special_tokens=special + continuing,
            continuing_subword_prefix=_CONTINUATION,
            show_progress=False,
        )
    backend.train_from_iterator(texts_twice, trainer)
    return _with_stable_vocabulary(backend)


def _train_words(
    backend: Tokenizer, texts: Iterable[str], vocab_size: int, min_frequency: int
) -> None:
    """Gives the backend the most frequent words, those of one frequency in alphabetical order."""
    trainer = trainers.WordLevelTrainer(
        vocab_size=vocab_size,
        min_frequency=min_frequency,
        special_tokens=list(SPECIAL_TOKENS),
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    if backend.get_vocab_size() == len(SPECIAL_TOKENS):
        raise ValueError(
            f"texts must hold a word that occurs min_frequency={min_frequency} times or more, but "
            "there is none: pass texts that are not empty"
            + (", or min_frequency=1." if min_frequency > 1 else ".")
        )


def _alphabet(backend: Tokenizer, texts: list[str]) -> tuple[set[str], list[str]]:
    """Gives the characters of all words, and in order those after a first, each with its `##`."""
    splitter = Tokenizer(models.WordLevel(unk_token=UNK))
    splitter.normalizer = backend.normalizer
    splitter.pre_tokenizer = backend.pre_tokenizer
    _train_words(splitter, texts, vocab_size=sys.maxsize, min_frequency=1)
    words = splitter.get_vocab(with_added_tokens=False).keys() - set(SPECIAL_TOKENS)
    continuing = {_CONTINUATION + character for word in words for character in word[1:]}
    return set().union(*words), sorted(continuing)


def _with_stable_vocabulary(backend: Tokenizer) -> Tokenizer:
    """Gives the backend with only our special tokens, and with scores that do not vary."""
    state = json.loads(backend.to_str())
    state["added_tokens"] = state["added_tokens"][: len(SPECIAL_TOKENS)]
    if state["model"]["type"] == "Unigram":
        # Summed in the order of a hash map, scores vary in their last digits; and characters too
        # rare for one get the lowest, or 0.0001 more than the one before, in that order too.
        special, learned = state["model"]["vocab"][:3], state["model"]["vocab"][3:]
        lowest = min(score for _, score in learned)
        highest = lowest + 1e-4 * sum(len(piece) == 1 for piece, _ in learned)
        scores = {
            piece: round(lowest if len(piece) == 1 and score <= highest else score, 4)
            for piece, score in learned
        }
        learned = sorted(scores.items(), key=lambda scored: (-scored[1], scored[0]))
        state["model"]["vocab"] = [*special, *learned]
    return Tokenizer.from_str(json.dumps(state))


__all__ = ["HfAttnTokenizer"]
