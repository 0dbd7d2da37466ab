"""The network that is trained, and its losses: image encoder, two heads, text tower, token layer.

Three losses share one image pass: the contrast of each finding's two prompts (CT-CLIP's zero-shot question),
the supervised head's multi-label cross-entropy, and an auxiliary question to every token, which of the
findings lie in its patch. The last is what makes small findings learnable in an hour; its layer is not part
of the bundle.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.ctclip import CTCLIPHead
from models.ctvit import CTViT, CTViTConfig
from models.supervised import SupervisedHead
from models.text_tower import TextTower
from training.dataset import Batch, Thoraces
from training.prompts import Prompts, text_latents
from training.recipe import EncoderTraining, Recipe
from training.starting_points import start_as_cosines, start_as_mean

_CASES_TO_COUNT = 160
_MASK_CELLS_OF_A_FULL_TOKEN = 3


class JointEncoder(nn.Module):
    """Everything that is trained together: encoder, image heads, text tower and the auxiliary token layer."""

    def __init__(self, recipe: Recipe, prompts: Prompts, labels: int) -> None:
        super().__init__()
        self.prompts = prompts
        height, width = recipe.tower.grid
        dim_image = height * width * recipe.tower.dim
        self.tower = CTViT(recipe.tower)
        self.ctclip = CTCLIPHead(dim_image, recipe.dim_latent)
        self.supervised = SupervisedHead(dim_image, recipe.dim_latent, labels)
        self.text = TextTower(prompts.bert_config, recipe.dim_latent)
        self.token_findings = nn.Linear(recipe.tower.dim, labels)
        self.token_weights: Tensor
        self.register_buffer("token_weights", torch.ones(labels), persistent=False)
        patch = (recipe.tower.temporal_patch_size, recipe.tower.patch_size, recipe.tower.patch_size)
        start_as_cosines(self.tower.to_patch_emb[2], patch)
        for head in (self.ctclip, self.supervised):
            start_as_mean(head.to_visual_latent, height * width)
        # CLIP's temperature (Radford et al., 2021): cosines within 1 become logits within 14.
        nn.init.constant_(self.ctclip.temperature, float(np.log(1 / 0.07)))

    def text_latents(self) -> Tensor:
        """Latents (labels, 2, dim_latent) of the labels' prompts, [present, not present]."""
        return text_latents(self.text, self.prompts)


def new_encoder(recipe: Recipe, prompts: Prompts) -> JointEncoder:
    """An untrained network; the recipe's seed decides its weights."""
    torch.manual_seed(recipe.seed)
    return JointEncoder(recipe, prompts, len(recipe.labels))


@dataclass(frozen=True)
class Losses:
    """Parts of the loss of one batch; `total` is what is minimised."""

    supervised: Tensor
    prompts: Tensor
    tokens: Tensor
    commitment: Tensor
    total: Tensor


@dataclass(frozen=True)
class ReadOut:
    """What the heads see: unit vectors (b, t, h, w, d), and how far the tokens lay from their codes."""

    tokens: Tensor
    commitment: Tensor


def losses(network: JointEncoder, batch: Batch, read: ReadOut, settings: EncoderTraining) -> Losses:
    """The losses of what was read out of the batch's volumes against its truth."""
    read_out, commitment = read.tokens, read.commitment
    supervised = F.binary_cross_entropy_with_logits(network.supervised(read_out), batch.labels)
    pairs = network.ctclip.logits(network.ctclip.image_latents(read_out), network.text_latents())
    contrast = F.cross_entropy(pairs.flatten(0, 1), (1 - batch.labels).long().flatten())
    # Unit vectors of many components are small in each: the layer sees them at the scale it was made for.
    scale = read_out.shape[-1] ** 0.5
    tokens = F.binary_cross_entropy_with_logits(
        network.token_findings(read_out * scale),
        token_targets(batch.masks, tuple(read_out.shape[1:4])),
        pos_weight=network.token_weights,
    )
    total = supervised + contrast + settings.token_weight * tokens + settings.commitment_weight * commitment
    return Losses(supervised, contrast, tokens, commitment, total)


def token_targets(masks: Tensor, grid: tuple[int, ...]) -> Tensor:
    """Coarse masks (b, n, cells) as targets (b, *grid, n) of the tokens.

    0 where a finding misses the token's patch, 1 where it fills some cells of it, between for less.
    """
    t, h, w = grid
    cells = F.avg_pool3d(masks, tuple(m // g for m, g in zip(masks.shape[2:], (t, h, w), strict=True)))
    per_token = masks[0, 0].numel() / (t * h * w)
    return (cells * per_token / _MASK_CELLS_OF_A_FULL_TOKEN).clamp(max=1).permute(0, 2, 3, 4, 1)


def token_weights(data: Thoraces, tower: CTViTConfig) -> Tensor:
    """Weight (findings,) of the tokens that hold a finding: the square root of the odds against it.

    A nodule lies in one token of a thousand, emphysema in a hundred: without weights the loss is content to
    see no nodule, and with the whole odds it sees nothing else.
    """
    masks = data.masks(np.arange(min(len(data), _CASES_TO_COUNT)))
    grid = (data.target.shape[0] // tower.temporal_patch_size, *tower.grid)
    share = (token_targets(masks, grid) > 0).float().mean(dim=(0, 1, 2, 3)).clamp(min=1e-4)
    return ((1 - share) / share).sqrt()


@torch.no_grad()
def predictions(
    network: JointEncoder, data: Thoraces, quantised: bool = True
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Probabilities (cases, findings) of the supervised head and of the prompts."""
    network.eval()
    latents = network.text_latents()
    supervised, prompted = [], []
    for index in range(len(data)):
        tokens = network.tower.encode_continuous(data.volume(index)[None, None])
        tokens = network.tower.quantise(tokens)[0] if quantised else F.normalize(tokens, dim=-1)
        supervised.append(network.supervised(tokens).sigmoid()[0])
        prompted.append(network.ctclip(tokens, latents)[0])
    return torch.stack(supervised).numpy(), torch.stack(prompted).numpy()
