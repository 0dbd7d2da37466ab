"""The text side of CT-CLIP: prompts to text latents, which a bundle then stores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import BertConfig, BertModel, BertTokenizer

from models.ctvit import unit
from models.manifest import PROMPTS

# What shapes the network in a BERT config; the rest of a published config names classes and files.
ARCHITECTURE = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "hidden_act",
    "max_position_embeddings",
    "type_vocab_size",
    "layer_norm_eps",
    "pad_token_id",
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
)


class TextTower(nn.Module):
    """BERT without its pooler; the state of the first token is projected to the latent."""

    def __init__(self, bert_config: Mapping[str, Any], dim_latent: int) -> None:
        super().__init__()
        config = BertConfig(**{key: bert_config[key] for key in ARCHITECTURE if key in bert_config})
        self.text_transformer = BertModel(config, add_pooling_layer=False)
        self.to_text_latent = nn.Linear(config.hidden_size, dim_latent, bias=False)

    def class_states(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """State (b, hidden) of the first token; ids and mask (b, n), the mask 0 on padding."""
        states: Tensor = self.text_transformer(input_ids, attention_mask=attention_mask).last_hidden_state
        return states[:, 0]

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Text latents (b, dim_latent) of length 1."""
        return unit(self.to_text_latent(self.class_states(input_ids, attention_mask)))


def prompt_pair(label: str) -> tuple[str, str]:
    """The prompts [present, not present] whose latents CT-CLIP compares; the tokenizer lowers the case."""
    present, absent = PROMPTS
    return present.format(label), absent.format(label)


def load_tokenizer(folder: Path) -> BertTokenizer:
    """The tokenizer whose ``vocab.txt`` lies in ``folder``; it lowers the case, as in training."""
    return BertTokenizer(vocab=str(folder / "vocab.txt"), do_lower_case=True)


def text_latents(tower: TextTower, tokenizer: BertTokenizer, labels: Sequence[str]) -> Tensor:
    """Latents (n, 2, dim_latent) of the labels' prompts, [present, not present]: what a bundle caches.

    Prompts are padded to the longest of them, not to 512 tokens as in the original: the mask hides padding.
    """
    prompts = [prompt for label in labels for prompt in prompt_pair(label)]
    limit = tower.text_transformer.config.max_position_embeddings
    tokens = tokenizer(prompts, padding=True, truncation=True, max_length=limit, return_tensors="pt")
    with torch.no_grad():
        latents: Tensor = tower(tokens["input_ids"], tokens["attention_mask"])
    return latents.reshape(len(labels), 2, -1)
