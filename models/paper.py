"""The paper's model: the trunk is run once, and its branches read what it gives."""

from __future__ import annotations

from collections.abc import Collection

import torch.nn.functional as F
from torch import Tensor

from echoviewclip.clip.packing import ALL, Packing
from echoviewclip.clip.text import ClassPrompts
from echoviewclip.models.branch import TextBranch, opposite
from echoviewclip.models.outputs import NO_TEXTS, ClassTexts, FrozenFeatures, ModelOutput, present
from echoviewclip.models.quality import QualityBranch
from echoviewclip.models.video_clip import VideoCLIP


class PaperVideoCLIP(VideoCLIP):
    """`VideoCLIP` with branches that are copies of the positive one."""

    negative_text: TextBranch | None
    quality: QualityBranch | None

    def add_negative(self, prompts: ClassPrompts | None) -> None:
        """Adds the negative branch as a copy of the positive one, and its text branch."""
        self.negative = self.positive.copy()
        if prompts is not None and self.positive_text is not None:
            self.negative_text = TextBranch(prompts, opposite(self.positive_text.tower))

    def add_quality(self, grades: int, head: str = "softmax", views: int = 0, defects: int = 0) -> None:
        """Adds the quality branch as a copy of the positive one, and its head (see `QualityBranch`)."""
        self.quality = QualityBranch(self.positive, grades, head, views, defects)

    def restart_branch(self, part: str) -> None:
        """Starts a branch that a checkpoint did not hold from the positive one, whose weights came with it."""
        if part == "negative":
            self.negative = self.positive.copy()
            if self.negative_text is not None and self.positive_text is not None:
                self.negative_text.tower = opposite(self.positive_text.tower)
        elif self.quality is not None:
            self.quality = self.quality.restarted(self.positive)

    def _read_negative(self) -> Tensor:
        assert self.negative_text is not None
        return self.negative_text()

    def _starts_from_tokens(self, parts: Collection[str]) -> bool:
        return "quality" in parts or ("negative" in parts and self._negative_trains)

    def _encode(
        self, video: Tensor, parts: Collection[str], packing: Packing
    ) -> tuple[FrozenFeatures, dict[int, Tensor]]:
        batch = video.shape[0]  # a number that `torch.export` keeps free, as `len` does not
        in_trunk, in_branch = self.intermediate_blocks
        tokens, early = self.trunk.forward_intermediates(
            self.stem(video.flatten(0, 1)), indices=in_trunk, clips=batch, packing=packing
        )
        frames, intermediates = None, {}
        if "positive" in parts or "quality" in parts:
            frames, late = self.positive.encode(tokens, batch, in_branch, packing)
            if "positive" in parts:
                intermediates = self._intermediate(early, late, batch, packing)
        return FrozenFeatures(tokens.unflatten(0, (batch, -1)), frames), intermediates

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
        if "positive" in parts:
            pooled, weights = self.positive.pooling(present(features.positive))
            positive = self._compare(pooled, weights, texts.positive)
        if "negative" in parts or "quality" in parts:
            frames_no = self._negative_frames(features, packing)
            if "negative" in parts:
                assert self.negative is not None
                pooled, weights = self.negative.pooling(frames_no)
                negative = self._compare(pooled, weights, texts.negative)
        if "quality" in parts:
            assert self.quality is not None
            frames = present(features.positive)
            views = self._view_probabilities(frames, texts.positive) if self.quality.views else None
            quality = self.quality(self._quality_frames(features, packing), frames, frames_no, views)
        return ModelOutput(positive, negative, quality, texts, {})

    def _quality_frames(self, features: FrozenFeatures, packing: Packing = ALL) -> Tensor:
        """Frame features [B, T, D] of the quality branch, those that are there or of the trunk's tokens."""
        if features.quality is not None:
            return features.quality
        assert self.quality is not None
        return self.quality.frame_features(present(features.tokens).flatten(0, 1), features.clips, packing)

    def _view_probabilities(self, frames: Tensor, classes: Tensor | None) -> Tensor:
        """Of the views [B, K], from the positive branch's frame features [B, T, D]."""
        assert classes is not None
        pooled, _ = self.positive.pooling(frames)
        _, logits = self._cosines_and_logits(F.normalize(pooled.float(), dim=-1), classes)
        return logits.softmax(dim=-1)
