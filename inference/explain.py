"""Why a model decided: which places of the frames spoke for the view that it names, and which against it.

Gradient-weighted attention rollout (`inference.rollout`) through the transformer blocks of the trunk and of a branch:
for the positive branch of its cosine with the text of the view, as far as it is above those of the other views; for the
negative branch of its cosine with the text that says that the video does not show the view. It costs two passes forward
and one backward a clip, and changes no answer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from echoviewclip.clip.attention import AttentionBlock
from echoviewclip.clip.blocks import Blocks
from echoviewclip.clip.pyramid import ConvolutionBlock
from echoviewclip.datasets.sample import Sample
from echoviewclip.datasets.transforms import DeviceTransform
from echoviewclip.inference.collect import Answers
from echoviewclip.inference.prediction import most_attended
from echoviewclip.inference.rollout import KeptAttention, roll_out
from echoviewclip.models.branch import ImageBranch
from echoviewclip.models.outputs import ClassTexts, present
from echoviewclip.models.paper import PaperVideoCLIP
from echoviewclip.models.video_clip import VideoCLIP
from echoviewclip.utils.distributed import gather
from echoviewclip.utils.errors import UserError

Answer = Callable[[Tensor], Tensor]
"""What is explained, a scalar, of a video's feature float32 [D], L2-normalised."""

AT_ONCE = 8  # frames whose attention is held: the weights of 12 blocks of ViT-B/16 take 0.18 GB in float32


@dataclass(frozen=True)
class Explanation:
    """Of one video, the frames of the clip that holds its most attended one, each once; the middle crop.

    Attributes:
        frames: int64 [n], where in the video each frame was, increasing.
        spoke_for: float32 [n, rows, columns] in [0, 1], a number a patch: how much it spoke for the view that the model
            names, from 0 to 1 in each frame; all 0 in one where nothing did.
        spoke_against: the same against it; None without a negative branch.
        pictures: uint8 [n, S, S, 3], the frames as the model saw them; None where they were not asked for.
    """

    frames: np.ndarray
    spoke_for: np.ndarray
    spoke_against: np.ndarray | None
    pictures: np.ndarray | None = None


def explainable(model: VideoCLIP) -> PaperVideoCLIP:
    """The model, if its answers can be explained. Raises UserError where they cannot."""
    if model.positive_text is None:
        raise UserError("--explain shows why a view was named, and this checkpoint names none: leave it out")
    if not isinstance(model, PaperVideoCLIP):
        raise UserError(
            "--explain: with MODEL.VARIANT released the negative features are pooled from those of both branches, so "
            "that no map of one branch says what spoke against a view: leave it out"
        )
    return model


class Explainer:
    """Explains each video that passes (an `inference.collect.Watch`)."""

    def __init__(self, model: VideoCLIP, crops: int, keeps_pictures: bool = False) -> None:
        """`crops` of each clip that the model sees. Raises UserError where the model cannot be explained."""
        self.model, self.crops, self.keeps_pictures = explainable(model), crops, keeps_pictures
        self._normalise = DeviceTransform(train=False)
        self._texts: ClassTexts | None = None
        self._done: dict[int, Explanation] = {}

    def __call__(self, batch: Sample, video: Tensor, answers: Answers[np.ndarray]) -> None:
        """Takes a batch in."""
        if self._texts is None:
            self._texts = self.model.encode_texts([part for part in self.model.parts if part != "quality"])
        positive = present(answers.positive)
        views, logits = video.shape[1], present(positive.logits)
        for row in np.flatnonzero(~answers.failed & np.isfinite(logits).all(axis=1)):
            weights, frames = (part[row].reshape(views, -1) for part in (positive.attention, answers.frames))
            chosen = chosen_view(weights, frames, self.crops)
            places, first = np.unique(frames[chosen], return_index=True)
            clip = self._normalise(video[row, chosen].unsqueeze(0)).squeeze(0)
            lit = None if batch.lit is None else batch.lit[row, chosen].numpy()
            maps = explain_clip(self.model, clip, int(logits[row].argmax()), self._texts, lit)
            against = None if maps[1] is None else maps[1][first]
            pictures = video[row, chosen][first].permute(0, 2, 3, 1).cpu().numpy() if self.keeps_pictures else None
            self._done[int(answers.place[row])] = Explanation(places, maps[0][first], against, pictures)

    def explanations(self) -> Mapping[int, Explanation]:
        """Those of all processes by place in the list; all of them have to call it."""
        return {place: one for share in gather(self._done) for place, one in share.items()}


def chosen_view(weights: np.ndarray, frames: np.ndarray, crops: int) -> int:
    """Which of the views [V, T] of a video to explain: of the clip that gave its most attended frame the most weight,
    the middle crop."""
    at_peak = weights * (frames == most_attended(weights.ravel(), frames.ravel()))
    clip = int(at_peak.sum(axis=1).argmax()) // crops
    return clip * crops + crops // 2


@torch.no_grad()
def explain_clip(
    model: PaperVideoCLIP, clip: Tensor, view: int, texts: ClassTexts, lit: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray | None]:
    """What spoke for and against a view in a normalised clip [T, 3, S, S]: float32 [T, side, side] in [0, 1].

    `texts` are those that the branches are compared with; without negative ones nothing is said to speak against.
    Patches without a pixel that is `lit`, bool [S, S], are left out, as they were for the answer, and have 0.
    """
    scale = model.logit_scale.exp()
    asked: list[tuple[ImageBranch, Answer]] = [
        (model.positive, lambda video: log_odds(scale * present(texts.positive) @ video, view))
    ]
    if model.negative is not None and texts.negative is not None:
        asked.append((model.negative, lambda video: present(texts.negative)[view] @ video))
    branches = [branch for branch, _ in asked]
    with _as_it_is(model):
        packing = model.stem.packing(None if lit is None else lit[None], len(clip))
        tokens, _ = model.trunk.forward_intermediates(model.stem(clip), clips=1, packing=packing)
        gradients = [_of_frames(branch, branch.frame_features(tokens, 1, packing), answer) for branch, answer in asked]
        some = zip(clip.split(AT_ONCE), *(gradient.split(AT_ONCE) for gradient in gradients), strict=True)
        found = [_of_patches(model, frames, branches, of_frames, lit) for frames, *of_frames in some]
    maps = [scaled(torch.cat(parts)).cpu().numpy() for parts in zip(*found, strict=True)]
    return maps[0], maps[1] if len(maps) > 1 else None


def log_odds(logits: Tensor, view: int) -> Tensor:
    """log p − log (1 − p) of a view by logits [K]; of the only one its logit.

    Its gradient has the direction of that of p, and does not vanish where p is nearly 1.
    """
    others = torch.cat([logits[:view], logits[view + 1 :]])
    return logits[view] - others.logsumexp(dim=0) if len(others) else logits[view]


def _of_frames(branch: ImageBranch, frames: Tensor, answer: Answer) -> Tensor:
    """The gradient [T, D] of an answer about a clip in its frame features [1, T, D]."""
    with torch.enable_grad():
        frames = frames.detach().requires_grad_()
        video = F.normalize(branch.pooling(frames)[0].squeeze(0).float(), dim=-1)
        with torch.autocast(video.device.type, enabled=False):
            found = answer(video)
        return torch.autograd.grad(found, frames)[0].squeeze(0)


def _of_patches(
    model: PaperVideoCLIP,
    frames: Tensor,
    branches: Sequence[ImageBranch],
    gradients: Sequence[Tensor],
    lit: np.ndarray | None,
) -> list[Tensor]:
    """For each branch the relevance of the patches of frames [n, 3, S, S], [n, rows, columns], by the gradient [n, D]
    in their features."""
    packing = model.stem.packing(None if lit is None else lit[None], len(frames))
    with torch.enable_grad(), KeptAttention() as of_trunk:
        tokens, _ = model.trunk.forward_intermediates(model.stem(frames), clips=1, packing=packing)
    prompts = 0 if model.stem.prompts is None else len(model.stem.prompts)
    maps = []
    for branch, gradient in zip(branches, gradients, strict=True):
        with torch.enable_grad(), KeptAttention() as of_branch:
            features = branch.frame_features(tokens, 1, packing)
        weights = [*of_trunk.weights, *of_branch.weights]
        in_weights = torch.autograd.grad(features, weights, gradient.unsqueeze(0), retain_graph=True)
        with torch.autocast(frames.device.type, enabled=False):
            relevance = roll_out(weights, in_weights, [*_replaced(model.trunk), *_replaced(branch.blocks)])
            counts = relevance[:, 0] if branch.class_token else relevance[:, 1:].mean(dim=1)
            counts = packing.unpack(counts.unsqueeze(-1)).squeeze(-1)
            maps.append(_on_patches(model, counts[:, 1 : counts.shape[1] - prompts]))
    return maps


def _on_patches(model: PaperVideoCLIP, counts: Tensor) -> Tensor:
    """Numbers [n, tokens] for the tokens of the transformer blocks → for the stem's patches [n, side, side].

    Each convolution block keeps every second token, so that they lie some patches apart: between them is interpolated.
    """
    blocks = [*model.trunk.blocks, *model.positive.blocks.blocks]
    apart = 2 ** sum(isinstance(block, ConvolutionBlock) for block in blocks)
    tokens, side = math.isqrt(counts.shape[1]), math.isqrt(len(model.stem.positional_embedding) - 1)
    place = (torch.arange(side, device=counts.device) / apart).clamp(max=tokens - 1)
    near = (1 - (place.unsqueeze(1) - torch.arange(tokens, device=counts.device)).abs()).clamp(min=0)  # [side, tokens]
    near = near.square() * (3 - 2 * near)  # still sums to 1; straight lines would draw stars
    return near @ counts.unflatten(1, (tokens, tokens)) @ near.t()


def _replaced(blocks: Blocks) -> list[slice]:
    """For each transformer block the tokens that its learnable ones replace."""
    return [
        blocks.slot if str(i) in blocks.prompts else slice(0, 0)
        for i, block in enumerate(blocks.blocks)
        if isinstance(block, AttentionBlock)
    ]


def scaled(maps: Tensor) -> Tensor:
    """Maps [n, rows, columns] → [0, 1], in each the least 0 and the most 1; all 0 where equal or not finite."""
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    spread = high - low
    told = spread.isfinite() & (spread > 0)
    return torch.where(told, (maps - low) / torch.where(told, spread, 1), 0)


@contextmanager
def _as_it_is(model: VideoCLIP) -> Iterator[None]:
    """Nothing is computed twice to save memory, and nothing runs compiled: either would pass by `KeptAttention`."""
    recomputed = [module for module in model.modules() if isinstance(module, Blocks) and module.recompute]
    for blocks in recomputed:
        blocks.recompute = False
    try:
        with torch.compiler.set_stance("force_eager"):
            yield
    finally:
        for blocks in recomputed:
            blocks.recompute = True
