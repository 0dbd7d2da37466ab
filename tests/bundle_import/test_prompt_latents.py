"""Text latents: the reference's, or a refusal of a tokenizer of another BERT."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bundle_import.errors import ImportCode, ImportRefused
from bundle_import.prompt_latents import bert_config, prompt_latents
from models.published import split_checkpoint
from tests.bundle_import.small_checkpoints import PROMPTS, SmallCheckpoints, ctclip_state
from tests.models.reference import assert_close, ctclip_parts, key_list, tensors


def test_latents_are_those_of_the_reference(parity: Path, small: SmallCheckpoints) -> None:
    state, folder = ctclip_parts(parity).states["text_tower"], small.tokenizer()
    latents = prompt_latents(bert_config(folder, state), state, folder, PROMPTS)
    assert_close(latents, tensors(parity, "ctclip_small/io")["text_latents"])


def test_the_published_bert_fits_its_tokenizer(parity: Path) -> None:
    state = split_checkpoint(key_list(parity, "ctclip_full")).states["text_tower"]
    config = bert_config(parity.parent / "tokenizer" / "cxr-bert", state)
    assert config["num_hidden_layers"] == 12


def test_a_tokenizer_of_another_bert_is_refused(parity: Path, small: SmallCheckpoints) -> None:
    state = split_checkpoint(ctclip_state(parity)).states["text_tower"]
    with pytest.raises(ImportRefused, match="127 words") as refused:
        bert_config(small.tokenizer(words=127), state)
    assert refused.value.code is ImportCode.TOKENIZER_DOES_NOT_FIT
    folder = small.tokenizer()
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3, "hidden_size": 32}))
    with pytest.raises(ImportRefused, match=r"hidden_size is 32 .*num_hidden_layers is 3"):
        bert_config(folder, state)


def test_a_tokenizer_that_is_not_whole_is_refused(parity: Path, small: SmallCheckpoints) -> None:
    state = ctclip_parts(parity).states["text_tower"]
    folder = small.tokenizer()
    (folder / "config.json").write_text("[]")
    for absent in (None, "vocab.txt", "config.json"):
        if absent is not None:
            (folder / absent).unlink()
        with pytest.raises(ImportRefused) as refused:
            bert_config(folder, state)
        assert refused.value.code is ImportCode.TOKENIZER_INCOMPLETE
        assert absent is None or absent in refused.value.message
