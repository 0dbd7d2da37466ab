"""Text latents of a prompt list, computed with the BERT that lies in a CT-CLIP checkpoint.

Its weights come with the checkpoint; its config and vocabulary come from a tokenizer folder (``config.json``
and ``vocab.txt``), and must be those that it was trained with.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from bundle_import.errors import ImportCode, ImportRefused
from models.published import fill
from models.text_tower import TextTower, load_tokenizer, text_latents

CONFIG, VOCABULARY = "config.json", "vocab.txt"

_EMBEDDINGS = "text_transformer.embeddings."
_INTERMEDIATE = "text_transformer.encoder.layer.0.intermediate.dense.weight"


def bert_config(folder: Path, state: Mapping[str, Tensor]) -> dict[str, Any]:
    """The config in the tokenizer folder, if it and the vocabulary fit the shapes of the text tower.

    Raises
    ------
    ImportRefused
        ``tokenizer_incomplete``, ``tokenizer_does_not_fit``
    """
    config, words = _tokenizer_files(folder)
    differences = []
    for name, size in _sizes(state).items():
        said = config.get(name)
        if said is not None and said != size:
            differences.append(f"{name} is {said} in {CONFIG} and {size} in the checkpoint")
        if name == "vocab_size" and words != size:
            differences.append(f"{VOCABULARY} has {words} words and the checkpoint's embedding {size}")
    if differences:
        raise ImportRefused(
            ImportCode.TOKENIZER_DOES_NOT_FIT, f"{folder} is of another BERT: {'; '.join(differences)}"
        )
    return config


def prompt_latents(
    config: Mapping[str, Any], state: Mapping[str, Tensor], folder: Path, labels: Sequence[str]
) -> Tensor:
    """Latents (n, 2, dim_latent) of the labels' prompts, [present, not present].

    Parameters
    ----------
    config
        As :func:`bert_config` gives it.
    state
        All tensors of the text tower under its own names.
    folder
        The tokenizer folder.
    """
    tower = TextTower(config, state["to_text_latent.weight"].shape[0])
    fill(tower, "text_tower", {name: tensor.float() for name, tensor in state.items()})
    return text_latents(tower.eval(), load_tokenizer(folder), labels)


def _tokenizer_files(folder: Path) -> tuple[dict[str, Any], int]:
    """BERT's config, and how many words the vocabulary has."""
    absent = [name for name in (CONFIG, VOCABULARY) if not (folder / name).is_file()]
    if absent:
        raise ImportRefused(
            ImportCode.TOKENIZER_INCOMPLETE,
            f"{folder} lacks {' and '.join(absent)}; --tokenizer takes the folder of the checkpoint's BERT"
            " (BiomedVLP-CXR-BERT-specialized for the published ones)",
        )
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        words = len((folder / VOCABULARY).read_text(encoding="utf-8").splitlines())
    except ValueError as error:
        raise ImportRefused(
            ImportCode.TOKENIZER_INCOMPLETE, f"{folder}: {CONFIG} or {VOCABULARY} is unreadable"
        ) from error
    if not isinstance(config, dict):
        raise ImportRefused(ImportCode.TOKENIZER_INCOMPLETE, f"{folder / CONFIG} is not a table")
    return config, words


def _sizes(state: Mapping[str, Tensor]) -> dict[str, int]:
    """The sizes of BERT that shapes tell, under their names in a config."""
    sizes: dict[str, int] = {}
    words = state.get(f"{_EMBEDDINGS}word_embeddings.weight")
    if words is not None:
        sizes |= {"vocab_size": words.shape[0], "hidden_size": words.shape[1]}
    positions = state.get(f"{_EMBEDDINGS}position_embeddings.weight")
    if positions is not None:
        sizes["max_position_embeddings"] = positions.shape[0]
    if _INTERMEDIATE in state:
        sizes["intermediate_size"] = state[_INTERMEDIATE].shape[0]
    layers = (re.match(r"text_transformer\.encoder\.layer\.(\d+)\.", key) for key in state)
    numbers = [int(match.group(1)) for match in layers if match]
    if numbers:
        sizes["num_hidden_layers"] = max(numbers) + 1
    return sizes
