"""Answers while frames come: a window slides over them, and each frame passes the image tower once."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from echoviewclip.datasets.annotations import Annotations
from echoviewclip.datasets.cropping import EvalCrop
from echoviewclip.datasets.sampling import clip_indices
from echoviewclip.datasets.transforms import DeviceTransform, lit_pixels
from echoviewclip.inference.collect import Answers, merge_views, zip_with
from echoviewclip.inference.precision import Precision
from echoviewclip.inference.prediction import Prediction, to_table
from echoviewclip.inference.predictor import Predictor
from echoviewclip.inference.replayed import Replayed
from echoviewclip.inference.scoring import to_predictions
from echoviewclip.models.outputs import FrameFeatures, ModelOutput, present

NAME = "stream"  # what predictions are about, in place of a file


@dataclass
class _Frame:
    """A frame of the window, uint8 [1, 3, S, S]; what the model saw in it, and which patches were computed for that."""

    pixels: Tensor
    features: FrameFeatures | None = None
    patches: bytes = b""


class Stream:
    """The answers about the last `seconds` of a video that is still going on.

    They are those of `predict` about a video of these frames, looked at as one clip and one crop. Frames are taken as
    they are: mask and cut them as the training videos were before (`tools/prepare.py`), or the answers are weaker.

    With MODEL.DROP_BLACK the patches that are black in all frames of a clip are left out. Where the next clip has
    others, which behind a mask they seldom are, its frames pass the tower again.
    """

    def __init__(self, predictor: Predictor, device: torch.device, fps: float, seconds: float = 2.0) -> None:
        """`fps` frames a second come; `seconds` of them are looked at. Raises ValueError where that is no frame."""
        length = round(fps * seconds)
        if not (np.isfinite(fps) and fps > 0 and length >= 1):
            raise ValueError(f"a window of {seconds} s at {fps} frames a second holds no frame")
        self.predictor, self.fps, self.length = predictor, fps, length
        self.model = predictor.model.to(device).eval()
        self.precision = Precision(predictor.config.TRAIN.OPT_LEVEL, self.model, device, trains=False)
        self.crop = EvalCrop(predictor.config.DATA.INPUT_SIZE)
        self.transform = DeviceTransform(train=False)
        self.window: deque[_Frame] = deque(maxlen=length)
        with torch.no_grad(), self.precision.autocast():
            self.texts = self.model.encode_texts(self.model.parts)
        self.encode = Replayed(self._encode)

    def add(self, frame: np.ndarray) -> Prediction:
        """Looks at one more frame uint8 [H, W, 3] RGB and answers about the window that ends with it.

        `frame` of the answer, the most attended one, counts from the window's first. Raises ValueError for an array of
        another kind.
        """
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or 0 in frame.shape:
            raise ValueError(f"expected a frame uint8 [H, W, 3], got {frame.dtype} {list(frame.shape)}")
        pixels = self.crop(torch.from_numpy(np.ascontiguousarray(frame)).permute(2, 0, 1)[None])
        self.window.append(_Frame(pixels[0]))
        indices = self._indices()
        clip = self._look_at([self.window[index] for index in indices])
        with self.precision.autocast():
            output = self.model.answer_from_frames(clip, self.model.parts, self.texts)
        return self._row(output, indices)

    def _look_at(self, clip: list[_Frame]) -> FrameFeatures:
        """What the model sees in the frames of a clip; also looks at the newest frame, for clips to come."""
        lit, patches = None, b""
        if self.predictor.config.MODEL.DROP_BLACK:
            lit = lit_pixels(torch.stack([frame.pixels for frame in clip], dim=1)).numpy()
            patches = self.model.stem.lit_patches(lit).tobytes()
        for frame in [*clip, self.window[-1]]:
            if frame.features is None or frame.patches != patches:
                pixels = self.transform(frame.pixels.to(self.precision.device)[None])[0]
                # Where black patches are left out, the next clip may have another number of tokens.
                frame.features = self.encode(pixels) if lit is None else self._encode(pixels, lit)
                frame.patches = patches
        return FrameFeatures.join([present(frame.features) for frame in clip])

    def _encode(self, frames: Tensor, lit: np.ndarray | None = None) -> FrameFeatures:
        with self.precision.autocast():
            return self.model.encode_frames(frames, self.model.parts, lit)

    def _indices(self) -> np.ndarray:
        """The frames of the window that make the clip, int64 [T]."""
        data = self.predictor.config.DATA
        return clip_indices(
            len(self.window),
            data.NUM_FRAMES,
            mode=data.SAMPLING,
            fps=self.fps,
            stride_seconds=data.STRIDE_SECONDS,
        )[0]

    def _row(self, output: ModelOutput, indices: np.ndarray) -> Prediction:
        """What the model answers about the clip of these frames, as `predict` does about a video's."""
        where = (torch.zeros(1, dtype=torch.int64), torch.zeros(1, dtype=torch.bool), torch.from_numpy(indices)[None])
        positive, negative, quality, intermediates = merge_views(output, views=1)
        merged: Answers[Tensor] = Answers(*where, positive, negative, quality, intermediates)
        answers: Answers[np.ndarray] = zip_with(lambda part: part.cpu().numpy(), merged)
        if self.predictor.fitted:
            stream = self.predictor.fitted.stream()
            stream.add(present(answers.intermediates))
            answers = answers._replace(distances=stream.result())
        predictions = to_predictions(answers, Annotations.of_paths([NAME]), "in", self.predictor.config.MODEL.DEFECTS)
        names = (self.predictor.views, self.predictor.grades)
        return to_table(predictions, *names, self.predictor.calibration, {}, {})[0]
