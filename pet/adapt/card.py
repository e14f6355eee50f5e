"""The model card of an adapted model."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pet.report.card import escape, facts_table
from pet.terminal import clean

_SHAPE = {
    "num_hidden_layers": "layers",
    "hidden_size": "hidden size",
    "intermediate_size": "feed-forward units",
    "num_attention_heads": "attention heads",
    "max_position_embeddings": "positions",
}


def model_card(name: str, record: Mapping[str, Any], command: str = "") -> str:
    """Write the README.md of an adapted model.

    Parameters
    ----------
    name : str
        Name of the model's folder; the title.
    record : mapping
        Returned by `pet.adapt.adapt.adapt`; it contains no local paths.
    command : str
        The command that created the model.

    Returns
    -------
    str
        YAML front matter and Markdown.
    """
    parts = [
        "---\nlibrary_name: transformers\npipeline_tag: fill-mask\ntags:\n- pet\n- fill-mask\n---",
        f"# {escape(name)}\n\nA masked language model, {_origin(record)} with `pet adapt`.",
        "## Usage\n\n```python\nfrom transformers import pipeline\n\n"
        'fill = pipeline("fill-mask", "path/to/this/folder")\n'
        'fill(f"It was {fill.tokenizer.mask_token}.")\n```',
        "## Model\n\n" + facts_table(_model_facts(record)),
        "## Training\n\n" + facts_table(_training_facts(record)),
    ]
    if command:
        parts.append(f"Created with\n\n```\n{_fenced(command)}\n```")
    parts.append("## Held-out text\n\n" + _figures(record))
    if record.get("samples"):
        parts.append("## Examples\n\n" + "\n".join(_sample(sample) for sample in record["samples"]))
    parts.append(
        "## Limitations\n\nThe model reproduces what its text says, including its biases."
        " Its license depends on the licenses of the text and of the model it started from;"
        " state it here before you publish the model."
    )
    return "\n\n".join(parts) + "\n"


def _origin(record: Mapping[str, Any]) -> str:
    if record["base"] is None:
        return "trained from scratch"
    base = f"further trained from {escape(record['base'])}"
    return f"{base} (an encoder with a new masked-LM head)" if record["new_head"] else base


def _model_facts(record: Mapping[str, Any]) -> dict[str, str]:
    facts = {"architecture": str(record["model_type"]), "parameters": f"{record['parameters']:,}"}
    facts |= {_SHAPE[key]: f"{value:,}" for key, value in record["shape"].items()}
    start = record["settings"]["start"]
    if start["keep_layers"]:
        facts["layers kept of the original"] = ", ".join(map(str, start["keep_layers"])) + " (counted from 0)"
    facts["vocabulary"] = f"{record['vocabulary']:,} tokens"
    if record["words_added"]:
        facts["words added"] = f"{record['words_added']:,} whole words that the tokenizer of the original split"
    facts["weights"] = str(record["save_dtype"])
    return facts


def _training_facts(record: Mapping[str, Any]) -> dict[str, str]:
    text, settings = record["settings"]["text"], record["settings"]["settings"]
    facts = {
        "text": f"{', '.join(text['sources'])}: {record['documents_trained']:,} documents, "
        f"{record['characters']:,} characters, {record['tokens_in_text']:,} tokens",
    }
    if text["repeat"]:
        facts["read several times per pass"] = ", ".join(text["repeat"])
    if text["exclude"]:
        facts["left out"] = (
            f"{record['documents_dropped']:,} documents that share {text['exclude_words']} words in a row "
            f"with one of {len(text['exclude'])} excluded files"
        )
    return facts | {
        "unknown tokens in the text": f"{record['unknown_tokens']:,}",
        "held out": f"{record['documents_held_out']:,} documents",
        "tokens seen": f"{record['tokens']:,} ({record['epochs']:.2f} passes) in {record['step']:,} steps",
        "sequences": f"{text['length']} tokens, packed without padding",
        "masking": f"{settings['mask_rate']:.0%} of the {'words' if settings['whole_word'] else 'tokens'}, "
        "drawn anew in each pass; 80% mask, 10% random, 10% unchanged",
        "batch": f"{settings['batch_tokens']:,} tokens",
        "learning rate": f"{settings['lr']:g}, warm-up over {settings['warmup']:.0%}, then linear decay",
        "time": f"{record['seconds'] / 60:.1f} minutes",
        "hardware": str(record["machine"]),
    }


def _figures(record: Mapping[str, Any]) -> str:
    names = {"loss": "loss (nats per masked token)", "perplexity": "perplexity", "accuracy": "masked accuracy"}
    before, after = record["start"], record["evaluation"]
    lines = ["| | before | after |", "|---|---:|---:|"]
    lines += [f"| {label} | {before[key]:.3f} | {after[key]:.3f} |" for key, label in names.items()]
    return "\n".join(lines)


def _sample(sample: Mapping[str, Any]) -> str:
    words = ", ".join(f"{escape(word)} {probability:.2f}" for word, probability in sample["words"])
    hidden = f" (hidden: {escape(sample['hidden'])})" if sample["hidden"] else ""
    text = escape(sample["text"].replace("{mask}", "___"))
    return f"- {text}{hidden}: {words}"


def _fenced(command: str) -> str:
    return "\n".join(clean(line) for line in command.replace("```", "'''").splitlines())


def command_line(arguments: Sequence[str]) -> str:
    """Return the command as it may be published: with only the last part of absolute paths."""
    return shlex.join(["pet", *(Path(a).name if Path(a).is_absolute() else a for a in arguments)])
