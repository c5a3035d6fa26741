"""The text tower, and the class prompts it reads: fixed templates or a learnable context."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import open_clip
import torch
from torch import Tensor, nn

from echoviewclip.clip.attention import own_block
from echoviewclip.clip.blocks import Blocks
from echoviewclip.utils.errors import UserError

CONTEXT_LENGTH = 77


def tokenize(texts: Sequence[str]) -> Tensor:
    """CLIP's byte-pair ids, int64 [K, 77], zero after the end of text. Raises UserError for a text that is too long."""
    return _ids_of(tuple(texts)).clone()


@functools.lru_cache(maxsize=16)
def _ids_of(texts: tuple[str, ...]) -> Tensor:
    """A model and a checkpoint ask for the same prompts several times."""
    tokenizer = _tokenizer()
    for text in texts:
        if len(tokenizer.encode(text)) > CONTEXT_LENGTH - 2:
            raise UserError(f"label list: a prompt has more than {CONTEXT_LENGTH - 2} tokens; shorten: {text!r}")
    return tokenizer(list(texts))


@functools.cache
def _tokenizer() -> open_clip.SimpleTokenizer:
    """Reads its vocabulary, which takes a second."""
    return open_clip.SimpleTokenizer(context_length=CONTEXT_LENGTH)


def end_of_text(ids: Tensor) -> Tensor:
    """Position of the end-of-text token, whose id is the largest, int64 [K]."""
    return ids.argmax(dim=-1)


def fill(template: str, names: Sequence[str]) -> list[str]:
    """`template` with each name in place of `{view}`; words without `{view}` stand before the name and a full stop."""
    if "{view}" in template:
        return [template.replace("{view}", name) for name in names]
    return [f"{template} {name}." for name in names]


class ClassPrompts(nn.Module):
    """The prompts of all classes as embeddings [K, L, width], L being the longest prompt's end of text.

    The text tower is causal, so what follows the end of text cannot change the feature there, and is left out. The
    embeddings are looked up in `table` once and do not train; with a `context` [n, width] the tokens 1 … n are one
    parameter that all classes share (CoOp, ViFi-CLIP). `token_ids` [K, 77] is what was tokenised.
    """

    embeddings: Tensor
    end: Tensor

    def __init__(
        self, token_ids: Tensor, table: nn.Embedding, context: Tensor | None = None, length: int | None = None
    ) -> None:
        super().__init__()
        self.token_ids = token_ids
        length = length or int(end_of_text(token_ids).max()) + 1
        with torch.no_grad():
            self.register_buffer("embeddings", table(token_ids[:, :length]).float().clone())
        self.register_buffer("end", end_of_text(token_ids), persistent=False)
        self.context = nn.Parameter(context.clone()) if context is not None else None

    def forward(self) -> Tensor:
        if self.context is None:
            return self.embeddings
        context = self.context.expand(len(self.embeddings), -1, -1)
        return torch.cat([self.embeddings[:, :1], context, self.embeddings[:, 1 + len(self.context) :]], dim=1)


def learnable_prompts(names: Sequence[str], words: str, tokens: int, table: nn.Embedding) -> ClassPrompts:
    """Prompts whose first `tokens` tokens after the start of text train (`learnable_texts`).

    Up to 4 tokens start as the embeddings of `words`, more from a normal of standard deviation 0.02.
    """
    texts = learnable_texts(names, words, tokens)
    if _start_from_words(words, tokens):
        with torch.no_grad():
            context = table(tokenize([words.replace("_", " ")]))[0, 1 : 1 + tokens].float()
    else:
        context = 0.02 * torch.randn(tokens, table.embedding_dim)
    return ClassPrompts(tokenize(texts), table, context)


def learnable_texts(names: Sequence[str], words: str, tokens: int) -> list[str]:
    """What is tokenised where the first `tokens` tokens train: `words`, or that many `X`, before each name.

    Underscores in names and words become spaces. Raises UserError where the words are fewer than the tokens.
    """
    words = words.replace("_", " ")
    if not _start_from_words(words, tokens):
        words = " ".join(["X"] * tokens)
    elif (there := int(end_of_text(tokenize([words]))) - 1) < tokens:
        raise UserError(
            f"TRAINER.ViFi_CLIP.N_CTX_TEXT is {tokens}, but the words that it starts from ({words!r}, CTX_INIT or "
            f"CTX_INIT_NO) are {there} tokens; make them agree"
        )
    return [f"{words} {name.replace('_', ' ')}." for name in names]


def _start_from_words(words: str, tokens: int) -> bool:
    return bool(words) and tokens <= 4


class TextTower(nn.Module):
    """Prompt embeddings [K, L, width] → text features [K, D], taken at the position `end` [K] of each prompt."""

    positional_embedding: nn.Parameter
    text_projection: nn.Parameter

    def __init__(
        self, towers: open_clip.CLIP, *, prompts: int = 0, prompt_depth: int = 0, recompute: bool = False
    ) -> None:
        super().__init__()
        self.positional_embedding = towers.positional_embedding
        blocks, width = [own_block(block) for block in towers.transformer.resblocks], towers.transformer.width
        deep = range(1, min(prompt_depth, len(blocks))) if prompts else ()
        self.blocks = Blocks(
            blocks,
            prompts={i: nn.Parameter(0.02 * torch.randn(prompts, width)) for i in deep},
            slot=slice(1, 1 + prompts),
            recompute=recompute,
        )
        self.ln_final = towers.ln_final
        self.text_projection = towers.text_projection

    def forward(self, embeddings: Tensor, end: Tensor) -> Tensor:
        length = embeddings.shape[1]
        tokens = (embeddings + self.positional_embedding[:length]).to(self.text_projection.dtype)
        tokens = self.blocks(tokens, causal_mask(length, tokens))
        tokens = self.ln_final(tokens)
        return tokens[torch.arange(len(tokens), device=end.device), end] @ self.text_projection


def causal_mask(length: int, like: Tensor) -> Tensor:
    """[L, L] of 0 on and below the diagonal and −∞ above, with the dtype and device of `like`."""
    return torch.full((length, length), float("-inf"), dtype=like.dtype, device=like.device).triu(1)
