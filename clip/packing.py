"""Which tokens of a batch of clips are computed: all, or, with MODEL.DROP_BLACK, those of patches that show anything.

Layers that look at one token at a time compute on packed tokens, clip after clip without gaps. Attention alone needs
frames of equally many; where clips keep different numbers it gets them with padding, which it does not see.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class Padding(NamedTuple):
    """How packed tokens [M, …] become frames [N, L, …] of the longest, and back.

    Attributes:
        places: int64 [M], where among the N·L tokens each packed one goes.
        filled: bool [N, 1, 1, L], where there is one: the keys that attention sees.
    """

    places: Tensor
    filled: Tensor

    def add(self, packed: Tensor) -> Tensor:
        """[M, D] → [N, L, D], zero where there is no token."""
        frames, length = self.filled.shape[0], self.filled.shape[-1]
        padded = packed.new_zeros(frames * length, packed.shape[-1])
        return padded.index_copy(0, self.places, packed).unflatten(0, (frames, length))

    def remove(self, padded: Tensor) -> Tensor:
        """[N, L, D] → [M, D]."""
        return padded.flatten(0, 1).index_select(0, self.places)


class Packing:
    """All tokens are computed: tokens [N, L, D] stay as they are.

    Attributes:
        padding: None where frames have equally many tokens.
        kept: float32 [N, L], 1 where a token is computed and 0 elsewhere; None: all are.
    """

    padding: Padding | None = None
    kept: Tensor | None = None

    def pack(self, tokens: Tensor) -> Tensor:
        """Tokens [N, L, D] → those that are computed: [N, l, D] where frames have equally many, else [M, D]."""
        return tokens

    def unpack(self, packed: Tensor) -> Tensor:
        """The inverse of `pack`, zero for what is not computed."""
        return packed

    def of(self, clips: Tensor) -> Packing:
        """The packing of some of the clips, int64 [n], in main memory."""
        return self


ALL = Packing()


class SomeTokens(Packing):
    """The T frames of clip b keep those of their L tokens that `tokens` [B, L] says."""

    def __init__(self, tokens: np.ndarray, frames: int, device: torch.device) -> None:
        """`tokens` is bool [B, L], at least one for each clip, in main memory: no device has to be waited for."""
        self._tokens, self._frames, self._device = tokens, frames, device
        kept = tokens.repeat(frames, axis=0)  # [N, L]
        counts = kept.sum(axis=1)
        filled = np.arange(counts.max(initial=1)) < counts[:, None]
        self._shape = filled.shape
        self._rows = self._sent(np.flatnonzero(kept))
        self.kept = self._sent(kept).float()
        if not filled.all():
            self.padding = Padding(self._sent(np.flatnonzero(filled)), self._sent(filled[:, None, None]))

    def _sent(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(values).to(self._device, non_blocking=True)

    def pack(self, tokens: Tensor) -> Tensor:
        packed = tokens.flatten(0, 1).index_select(0, self._rows)
        return packed if self.padding else packed.unflatten(0, self._shape)

    def unpack(self, packed: Tensor) -> Tensor:
        packed = packed if self.padding else packed.flatten(0, 1)
        frames, length = len(self._tokens) * self._frames, self._tokens.shape[1]
        tokens = packed.new_zeros(frames * length, packed.shape[-1])
        return tokens.index_copy(0, self._rows, packed).unflatten(0, (frames, length))

    def of(self, clips: Tensor) -> Packing:
        return SomeTokens(self._tokens[clips.numpy()], self._frames, self._device)
