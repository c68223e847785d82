"""Layers that several models share: normalisation of images, and attention that is explicit only
where maps are asked for.
"""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn


class Normalise(nn.Module):
    """Images in [0, 1] -> as the weights expect them: by the mean and std of `config`, a timm
    network's `default_cfg`.

    Both are saved with the weights, so they cannot drift.
    """

    def __init__(self, config: dict):
        super().__init__()
        self.register_buffer("mean", torch.tensor(config["mean"]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(config["std"]).view(1, 3, 1, 1))

    def forward(self, images):
        return (images - self.mean) / self.std


class Attention(nn.Module):
    """softmax(q k' / sqrt(width / heads)) v over `heads` slices of the width, all four projections
    with bias.
    """

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def forward(
        self,
        tokens: torch.Tensor,
        others: torch.Tensor | None = None,
        *,
        mask: torch.Tensor | None = None,
        maps: list | None = None,
    ) -> torch.Tensor:
        """tokens (b, n, width) attend to `others` (b, m, width), by default to themselves -> (b, n,
        width).

        `mask` (b, m): True where one of the others may be attended to. A list given as `maps`
        receives the attention weights (b, heads, n, m).
        """
        others = tokens if others is None else others
        query = self._by_head(self.query(tokens))
        key = self._by_head(self.key(others))
        value = self._by_head(self.value(others))
        if mask is not None:
            mask = mask[:, None, None]
        if maps is None:
            mixed = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        else:
            logits = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
            if mask is not None:
                logits = logits.masked_fill(~mask, float("-inf"))
            maps.append(logits.softmax(-1))
            mixed = maps[-1] @ value
        return self.out(mixed.transpose(1, 2).flatten(2))

    def _by_head(self, tokens):
        """(b, n, width) -> (b, heads, n, width / heads)"""
        return tokens.unflatten(-1, (self.heads, -1)).transpose(1, 2)


def no_autocast(images: torch.Tensor) -> AbstractContextManager:
    """Within it nothing is computed in half precision; torch's meta device knows no autocast."""
    if images.is_meta:
        return nullcontext()
    return torch.autocast(images.device.type, enabled=False)
