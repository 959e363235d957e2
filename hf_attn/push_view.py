"""What `hf-attn push` prints: what it would send, and what it sent."""

from __future__ import annotations

from collections.abc import Sequence

from .card_page import CARD_FILE
from .hub import PushResult
from .hub_files import Content


def plan_of_push(contents: Sequence[Content]) -> str:
    """Gives the files with their sizes and the card, for a push that is not made."""
    width = max(len(content.path) for content in contents)
    lines = [f"{content.path:<{width}}  {content.size:>13,} bytes" for content in contents]
    total = sum(content.size for content in contents)
    lines += [f"{f'{len(contents)} files':<{width}}  {total:>13,} bytes", "Nothing was sent."]
    for content in contents:
        if content.path == CARD_FILE:
            lines += ["", f"{CARD_FILE}:", "", content.text.rstrip()]
    return "\n".join(lines)


def report_of_push(result: PushResult) -> str:
    """Gives what a push did, and the lines that load the model at that commit."""
    lines = list(result.notes)
    if not result.changed:
        lines.append("Nothing changed: the Hub has these files already, and nothing was sent.")
    else:
        lines.append(f"Sent {len(result.files)} files, {result.num_bytes:,} bytes, in one commit.")
    if result.deleted:
        lines.append(f"Removed from it, as parts of an older model: {', '.join(result.deleted)}.")
    return "\n".join([*lines, result.pr_url or result.commit_url, "", *lines_to_load(result)])


def lines_to_load(result: PushResult) -> tuple[str, ...]:
    """Gives the code that loads what was pushed, on any machine with transformers."""
    pinned = f'"{result.repo_id}", revision="{result.oid}", trust_remote_code=True'
    if result.base is None:
        return (
            "from transformers import pipeline",
            f'classify = pipeline("text-classification", {pinned})',
        )
    # Given the adapter's name, transformers looks for its commit in the repository of the base.
    return (
        "from peft import AutoPeftModelForSequenceClassification",
        "from transformers import pipeline",
        f"model = AutoPeftModelForSequenceClassification.from_pretrained({pinned})",
        f'classify = pipeline("text-classification", model, tokenizer="{result.base}", '
        "trust_remote_code=True)",
    )
