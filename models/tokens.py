"""Rows of the text tower's token table: with them a checkpoint brings the words that its prompts are made of."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

HALF_RTOL, HALF_ATOL = 1e-3, 1e-7  # weights that were exported in 16 bits are the same weights


@dataclass(frozen=True)
class TokenRows:
    """Token ids int64 [M], which may repeat, and the embedding of each, float32 [M, width]."""

    ids: Tensor
    embeddings: Tensor

    @classmethod
    def of_prompts(cls, ids: Tensor, embeddings: Tensor) -> TokenRows:
        """Of prompts: ids [K, 77], and embeddings [K, L, width] of their first L tokens."""
        return cls(ids[:, : embeddings.shape[1]].flatten(), embeddings.flatten(0, 1).float())

    @classmethod
    def of_table(cls, table: nn.Embedding, ids: Tensor | None = None) -> TokenRows:
        """Of a whole table, each of `ids` once, ascending; without `ids` all of it."""
        ids = torch.arange(table.num_embeddings) if ids is None else ids.unique()
        return cls(ids, table.weight.detach()[ids].float())

    def covers(self, ids: Tensor) -> bool:
        """Whether every one of `ids` has a row here."""
        return bool(torch.isin(ids, self.ids).all())

    def agrees_with(self, other: TokenRows) -> bool:
        """Whether both have the same rows for the ids that both have, but for the rounding of half precision."""
        if self.embeddings.shape[1] != other.embeddings.shape[1]:
            return False
        ids, order = other.ids.sort()
        places = torch.searchsorted(ids, self.ids).clamp(max=len(ids) - 1)
        both = ids[places] == self.ids
        theirs = other.embeddings[order[places[both]]]
        return torch.allclose(theirs, self.embeddings[both], rtol=HALF_RTOL, atol=HALF_ATOL)

    @torch.no_grad()
    def write_to(self, table: nn.Embedding) -> None:
        """Puts the rows in their places of a whole table."""
        table.weight[self.ids] = self.embeddings

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint keeps; `TokenRows(**state)` is the inverse."""
        return {"ids": self.ids, "embeddings": self.embeddings}
