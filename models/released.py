"""The published EchoViewCLIP code's model, and the translation of its checkpoints.

It differs from the paper's figure in the ways that the classes below say, and is kept so that checkpoints trained
with that code load and answer the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from echoviewclip.clip.blocks import own_copy
from echoviewclip.clip.packing import ALL, Packing
from echoviewclip.clip.text import ClassPrompts, end_of_text
from echoviewclip.models.branch import ImageBranch, TextBranch
from echoviewclip.models.outputs import NO_TEXTS, ClassTexts, FrozenFeatures, ModelOutput, present
from echoviewclip.models.pooling import TemporalPooling
from echoviewclip.models.quality import graded
from echoviewclip.models.video_clip import VideoCLIP

PROMPTS = "prompt_learner.complete_text_embeddings"

Rule = tuple[str, str | Callable[[re.Match[str]], str]]
"""A pattern of published keys, and the key that a match becomes: a template, or a function of the match."""


class ReleasedNegativeBranch(ImageBranch):
    """A negative path with its own class token, positions and projection, which start random and are never trained.

    It runs the trunk a second time on them; the patch embedding, ln_pre and the trunk's blocks are shared.
    """

    pooling: TemporalPooling  # the only one that this variant has

    def __init__(self, positive: ImageBranch, stem_width: int, positions: int) -> None:
        branch = positive.copy()
        scale = stem_width**-0.5
        projection = nn.Parameter(scale * torch.randn_like(positive.projection), requires_grad=False)
        super().__init__(branch.blocks, branch.ln_post, projection, branch.pooling, branch.class_token)
        self.class_embedding = nn.Parameter(scale * torch.randn(stem_width), requires_grad=False)
        self.positional_embedding = nn.Parameter(scale * torch.randn(positions, stem_width), requires_grad=False)


class ReleasedNegativeText(nn.Module):
    """A negative text tower that reads the *positive* prompts, at the end-of-text positions of the negative ones."""

    end: Tensor

    def __init__(self, positive: TextBranch, end: Tensor) -> None:
        super().__init__()
        self.tower = own_copy(positive.tower)
        self.register_buffer("end", end, persistent=False)

    def forward(self, prompts: Tensor) -> Tensor:
        return F.normalize(self.tower(prompts, self.end).float(), dim=-1)


class ReleasedQualityHead(nn.Module):
    """[pos ‖ neg ‖ softmax over time of (negative − positive attention)] → Linear → Linear, nothing between."""

    def __init__(self, dim: int, frames: int, grades: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(2 * dim + frames, dim)
        self.head = nn.Linear(dim, grades)

    def forward(self, positive: Tensor, negative: Tensor, difference: Tensor) -> Tensor:
        return self.head(self.hidden(torch.cat([positive, negative, difference.softmax(dim=-1)], dim=-1)))


class ReleasedVideoCLIP(VideoCLIP):
    """`VideoCLIP` with the published code's negative path, pooling and quality head; the same output."""

    negative: ReleasedNegativeBranch | None
    negative_text: ReleasedNegativeText | None
    quality: ReleasedQualityHead | None

    def __init__(self, *args: Any, frames: int) -> None:
        """The parts of a `VideoCLIP`, and T."""
        super().__init__(*args)
        self.frames = frames

    def add_negative(self, prompts: ClassPrompts | None) -> None:
        """Adds the second pass' tokens, branch and pooling."""
        self.negative = self._random_negative()
        if prompts is not None and self.positive_text is not None:
            self.negative_text = ReleasedNegativeText(self.positive_text, end_of_text(prompts.token_ids))

    def _random_negative(self) -> ReleasedNegativeBranch:
        positions, width = self.stem.positional_embedding.shape
        return ReleasedNegativeBranch(self.positive, width, positions)

    def add_quality(self, grades: int) -> None:
        """Adds the head; this variant has no quality branch."""
        self.quality = ReleasedQualityHead(self.positive.projection.shape[1], self.frames, grades)

    def restart_branch(self, part: str) -> None:
        """Starts the negative blocks, ln_post, pooling and text from the positive ones; the rest stays random."""
        if part == "negative":
            self.negative = self._random_negative()
            if self.negative_text is not None and self.positive_text is not None:
                self.negative_text.tower = own_copy(self.positive_text.tower)
        elif self.quality is not None:
            self.add_quality(self.quality.head.out_features)

    def _read_negative(self) -> Tensor:
        assert self.negative_text is not None and self.positive_text is not None
        return self.negative_text(self.positive_text.prompts())

    def _starts_from_tokens(self, parts: Collection[str]) -> bool:
        return "negative" in parts and self._negative_trains

    def _encode(
        self, video: Tensor, parts: Collection[str], packing: Packing
    ) -> tuple[FrozenFeatures, dict[int, Tensor]]:
        """See `VideoCLIP._encode`; the tokens are those of the trunk's second run, for the negative path."""
        assert packing is ALL  # as published; utils/config/checks.py
        batch = video.shape[0]  # a number that `torch.export` keeps free, as `len` does not
        patches = self.stem.patches(video.flatten(0, 1))
        intermediates: dict[int, Tensor] = {}
        in_trunk, in_branch = self.intermediate_blocks
        tokens = self.stem.tokens(patches, self.stem.class_embedding, self.stem.positional_embedding)
        tokens, early = self.trunk.forward_intermediates(tokens, indices=in_trunk, clips=batch)
        frames, late = self.positive.encode(tokens, batch, in_branch)
        if "positive" in parts:
            intermediates = self._intermediate(early, late, batch, packing)
        if "negative" not in parts and "quality" not in parts:
            return FrozenFeatures(None, frames), intermediates
        assert self.negative is not None
        tokens = self.stem.tokens(patches, self.negative.class_embedding, self.negative.positional_embedding)
        return FrozenFeatures(self.trunk(tokens, clips=batch).unflatten(0, (batch, -1)), frames), intermediates

    def _quality_frames(self, features: FrozenFeatures, packing: Packing = ALL) -> None:
        """The published quality head has no branch of its own."""

    def forward_from(
        self,
        features: FrozenFeatures,
        parts: Collection[str],
        texts: ClassTexts = NO_TEXTS,
        packing: Packing = ALL,
    ) -> ModelOutput:
        """See `VideoCLIP.forward_from`."""
        texts = self.encode_texts(parts, texts)
        positive = negative = quality = None
        frames = present(features.positive)
        pooled, weights = self.positive.pooling(frames)
        if "positive" in parts:
            positive = self._compare(pooled, weights, texts.positive)
        if "negative" in parts or "quality" in parts:
            assert self.negative is not None
            frames_no = self._negative_frames(features, packing)
            weights_no = self.negative.pooling.weights(frames_no)
            # The mean half pools negative features, the weighted half positive ones: as published.
            pooled_no = self.negative.pooling.pool(frames_no, frames, weights_no)
        if "negative" in parts:
            negative = self._compare(pooled_no, weights_no, texts.negative)
        if "quality" in parts:
            assert self.quality is not None
            quality = graded(self.quality(pooled, pooled_no, weights_no - weights), weights_no)
        return ModelOutput(positive, negative, quality, texts, {})


def is_published(state: dict[str, Tensor]) -> bool:
    """Whether these are the keys of a checkpoint of the published code."""
    return any(key.startswith("image_encoder.") for key in state)


def published_prompts(state: dict[str, Tensor]) -> Tensor | None:
    """Embeddings [K, 77, width] of the positive prompts in a checkpoint of the published code, where it has them."""
    return state.get(PROMPTS)


def translate(state: dict[str, Tensor], shared_blocks: int) -> dict[str, Tensor]:
    """Published keys → keys of `ReleasedVideoCLIP`. Tables that are rebuilt from the prompts are left out."""
    rules: list[Rule] = [
        (r"image_encoder\.(conv1|ln_pre|class_embedding|positional_embedding)(.*)", r"stem.\1\2"),
        (r"image_encoder\.VPT", r"stem.prompts"),
        (r"image_encoder\.ln_post(.*)", r"positive.ln_post\1"),
        (r"image_encoder\.proj", r"positive.projection"),
        (r"image_attention(_no)?\.(.*)", lambda m: f"{_side(m[1])}.pooling.attention.{m[2]}"),
        (r"projector(_no)?\.(.*)", lambda m: f"{_side(m[1])}.pooling.projection.{m[2]}"),
        (r"image_encoder_inpost_no\.(.*)", r"negative.ln_post.\1"),
        (r"(class_embedding|positional_embedding)", r"negative.\1"),
        (r"proj", r"negative.projection"),
        (r"projector_sqc\.(.*)", r"quality.hidden.\1"),
        (r"classifier_sqc\.(.*)", r"quality.head.\1"),
        (r"prompt_learner\.ctx", r"positive_text.prompts.context"),
        (r"text_encoder(_no)?\.transformer\.resblocks\.(.*)", lambda m: f"{_side(m[1])}_text.tower.{_block(m[2])}"),
        (r"text_encoder(_no)?\.(.*)", lambda m: f"{_side(m[1])}_text.tower.{m[2]}"),
        (r"logit_scale", r"logit_scale"),
    ]
    translated = {}
    for key, value in state.items():
        if key.startswith("prompt_learner") and key != "prompt_learner.ctx":
            continue
        for pattern, name in _image_blocks(shared_blocks) + rules:
            match = re.fullmatch(pattern, key)
            if match:
                translated[name(match) if callable(name) else match.expand(name)] = value
                break
        else:
            translated[key] = value  # reported as unknown where it is loaded
    return translated


def _side(suffix: str | None) -> str:
    return "negative" if suffix else "positive"


def _block(rest: str) -> str:
    """`3.attn…` → `blocks.blocks.3.attn…`; a layer's learnable tokens → `blocks.prompts.3`."""
    index, name = rest.split(".", 1)
    return f"blocks.prompts.{index}" if name == "VPT_shallow" else f"blocks.blocks.{index}.{name}"


def _image_blocks(shared: int) -> list[Rule]:
    def positive(match: re.Match[str]) -> str:
        index = int(match[1])
        if index < shared:
            return "trunk." + _block(f"{index}.{match[2]}").removeprefix("blocks.")
        return "positive." + _block(f"{index - shared}.{match[2]}")

    return [
        (r"image_encoder\.transformer\.resblocks\.(\d+)\.(.*)", positive),
        (r"image_encoder_no\.(.*)", lambda m: "negative." + _block(m[1])),
    ]
