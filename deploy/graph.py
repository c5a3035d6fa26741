"""One graph that answers alone: from the pixels of a video's clips to view, acceptance and quality.

Class texts, temperature, τ, the statistics of training features and the normalisation of pixels are constants in it.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from echoviewclip.datasets.configured import evaluation_views
from echoviewclip.datasets.transforms import DeviceTransform
from echoviewclip.deploy.scores import OF_ONE_PASS, DistanceScore
from echoviewclip.inference.collect import ViewAnswers, merge_views
from echoviewclip.inference.predictor import Predictor
from echoviewclip.models.outputs import present
from echoviewclip.utils.errors import UserError


class Graph(nn.Module):
    """A predictor as a function of pixels, in float32 and evaluation mode.

    Attributes:
        views, frames, size: V, T and S of what it reads: clips × crops of a video, frames of a clip, pixels of a side.
        score_name, tau: what decides; None where nothing does.
    """

    def __init__(self, predictor: Predictor) -> None:
        """Copies the predictor's model. Raises UserError where it computes another number of tokens for each video."""
        super().__init__()
        config, calibration = predictor.config, predictor.calibration
        if config.MODEL.DROP_BLACK:
            raise UserError(
                "MODEL.DROP_BLACK True: a graph computes all patches, so its answers would not be the checkpoint's; "
                "export the folder without --formats"
            )
        model = copy.deepcopy(predictor.model).float().eval().requires_grad_(False)
        with torch.no_grad():
            self.texts = model.encode_texts(model.parts)
        model.positive_text = model.negative_text = None  # read, and not needed any more
        self.model, self.parts = model, model.parts
        self.normalise = DeviceTransform(train=False)
        self.temperature = calibration.temperature
        clips, crops = evaluation_views(config)
        self.views, self.frames, self.size = clips * crops, config.DATA.NUM_FRAMES, config.DATA.INPUT_SIZE
        self.answers_defects = "quality" in self.parts and bool(config.MODEL.DEFECTS)
        self.answers_view = self.texts.positive is not None
        self.score_name, self.tau = (calibration.score, calibration.tau) if self.answers_view else (None, None)
        self.distance = None
        if self.score_name is not None and self.score_name not in OF_ONE_PASS:
            self.distance = DistanceScore(self.score_name, present(predictor.fitted))
        self.eval()

    @property
    def outputs(self) -> Sequence[str]:
        """Names of what `forward` gives, in its order."""
        view = ["view_probabilities", "attention"] if self.answers_view else []
        decision = ["score", "accepted"] if self.tau is not None else []
        quality = ["quality_probabilities", "quality_score"] if "quality" in self.parts else []
        return view + decision + quality + ["defect_probabilities"] * self.answers_defects

    def example(self, videos: int = 2) -> Tensor:
        """Noise as so many videos, uint8 [videos, V, T, 3, S, S]; the same at every call."""
        shape = (videos, self.views, self.frames, 3, self.size, self.size)
        return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))

    def forward(self, video: Tensor) -> tuple[Tensor, ...]:
        """The clips of B videos, cut and resized, RGB uint8 [B, V, T, 3, S, S] → what `outputs` names. B is free.

        Float32 `view_probabilities` [B, K] at the checkpoint's temperature, `attention` [B, V·T] over the frames,
        `score` [B], `quality_probabilities` [B, G], `quality_score` [B] in [0, 1], `defect_probabilities` [B, D] in
        the order of MODEL.DEFECTS; bool `accepted` [B], score ≥ τ.
        """
        clips = self.normalise(video.flatten(0, 1))
        positive, negative, quality, features = merge_views(self.model(clips, self.parts, self.texts), self.views)
        answers: list[Tensor] = []
        if self.answers_view:
            logits = present(present(positive).logits)
            answers += [(logits / self.temperature).softmax(dim=1), present(positive).attention]
        if self.tau is not None:
            score = self._score(present(positive), negative, features)
            answers += [score.float(), score >= self.tau]
        if quality is not None:
            answers += [quality.probabilities, quality.score]
            answers += [] if quality.defects is None else [quality.defects]
        return tuple(answers)

    def _score(
        self, positive: ViewAnswers[Tensor], negative: ViewAnswers[Tensor] | None, features: Tensor | None
    ) -> Tensor:
        if self.distance is not None:
            return self.distance(present(features))
        return OF_ONE_PASS[present(self.score_name)](positive, negative)
