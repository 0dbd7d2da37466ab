"""Whole small checkpoints in the published layouts, and what an import of them needs to be told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bundle_import.request import ImportRequest
from tests.models.reference import config, small_supervised_checkpoint, tensors

PROMPTS = ("Pneumonia", "Pleural effusion", "Pulmonary nodule")
CLASSES = 18
# Planes of 60 x 60 voxels over 40: coarse enough to hold the whole chest of the self-test's volume.
SHAPE, SPACING_MM = (40, 60, 60), (9.0, 7.0, 7.0)

# The reference's token of each word; "present" and "." are the same one, as a word that no vocabulary has.
_WORDS = {
    0: "[PAD]", 2: "[CLS]", 3: "[SEP]", 4: "[MASK]", 16: "[UNK]", 17: "effusion", 82: "not", 85: "is",
    86: "pneumonia", 112: "pleural", 114: "pulmonary", 123: "nodule",
}  # fmt: skip


def ctclip_state(parity: Path) -> dict[str, Tensor]:
    return tensors(parity, "ctclip_small/weights")


def classfine_state(parity: Path) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(5)
    return {f"trained_model.{key}": value for key, value in ctclip_state(parity).items()} | {
        "classifier.weight": torch.randn((CLASSES, 512), generator=generator),
        "classifier.bias": torch.randn(CLASSES, generator=generator),
    }


class SmallCheckpoints:
    """Files of small checkpoints in ``folder``, and requests that import them."""

    def __init__(self, parity: Path, folder: Path) -> None:
        self.parity = parity
        self.folder = folder
        self.bundles = folder / "bundles"
        (folder / "prompts.txt").write_text("# as in the reference\n" + "\n".join(PROMPTS) + "\n")

    def save(self, name: str, content: Any) -> Path:
        torch.save(content, self.folder / name)
        return self.folder / name

    def ctclip(self) -> Path:
        return self.save("CT-CLIP_v2.pt", ctclip_state(self.parity))

    def supervised(self) -> Path:
        state = small_supervised_checkpoint(self.parity)
        return self.save("supervised_model.pt", {"model_state_dict": state, "epoch": 3})

    def classfine(self) -> Path:
        return self.save("CT_LiPro_v2.pt", classfine_state(self.parity))

    def slice_classifier(self) -> Path:
        return self.save("ct_classifier.pt", tensors(self.parity, "diffusion_classifier_small/weights"))

    def unet(self) -> Path:
        return self.save("diffusion.pt", tensors(self.parity, "diffusion_unet_small/weights"))

    def tokenizer(self, words: int = 128) -> Path:
        """A tokenizer folder that gives the reference's token ids."""
        folder = self.folder / f"tokenizer_{words}"
        folder.mkdir(exist_ok=True)
        vocabulary = [_WORDS.get(number, f"[unused{number}]") for number in range(words)]
        (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
        (folder / "config.json").write_text(json.dumps(config(self.parity, "ctclip_small")["bert"]))
        return folder

    def request(self, **changes: Any) -> ImportRequest:
        """A request without members, for bundles of the small networks."""
        return ImportRequest(
            **{
                "name": "small",
                "bundles_folder": self.bundles,
                "input_shape": SHAPE,
                "spacing_mm": SPACING_MM,
                "slice_head_channels": 32,
                "prompts": str(self.folder / "prompts.txt"),
                "tokenizer": self.tokenizer(),
            }
            | changes
        )

    def left_behind(self) -> list[str]:
        return sorted(path.name for path in self.bundles.iterdir()) if self.bundles.is_dir() else []
