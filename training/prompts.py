"""The prompts' own WordPiece vocabulary, and the small BERT that reads them while the encoder is trained."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import BertTokenizer

from models.text_tower import TextTower, prompt_pair

_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


@dataclass(frozen=True)
class Prompts:
    """Token ids and mask, both (labels * 2, tokens): present and not present of each label in turn."""

    input_ids: Tensor
    attention_mask: Tensor
    vocabulary: tuple[str, ...]

    @property
    def bert_config(self) -> dict[str, Any]:
        """A BERT that is large enough for a dozen sentences."""
        return {
            "vocab_size": len(self.vocabulary),
            "hidden_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "intermediate_size": 128,
            "max_position_embeddings": 32,
            "hidden_dropout_prob": 0.0,
            "attention_probs_dropout_prob": 0.0,
            "pad_token_id": 0,
        }


def vocabulary(labels: Sequence[str]) -> tuple[str, ...]:
    """WordPiece vocabulary of the prompts: special tokens, then every word and mark, lower case, in order."""
    text = " ".join(sentence for label in labels for sentence in prompt_pair(label)).lower()
    return (*_SPECIAL, *sorted(set(re.findall(r"\w+|[^\w\s]", text))))


def tokenised(labels: Sequence[str], folder: Path) -> Prompts:
    """The prompts of `labels`; the vocabulary is written to `folder`/vocab.txt."""
    words = vocabulary(labels)
    path = folder / "vocab.txt"
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(words) + "\n", encoding="utf-8")
    tokenizer = BertTokenizer(str(path), do_lower_case=True)
    sentences = [sentence for label in labels for sentence in prompt_pair(label)]
    encoded = tokenizer(sentences, padding=True, return_tensors="pt")
    return Prompts(encoded["input_ids"], encoded["attention_mask"], words)


def text_latents(tower: TextTower, prompts: Prompts) -> Tensor:
    """Latents (labels, 2, dim_latent) of length 1, [present, not present]."""
    latents: Tensor = tower(prompts.input_ids, prompts.attention_mask)
    return torch.stack([latents[0::2], latents[1::2]], dim=1)
