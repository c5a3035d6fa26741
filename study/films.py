"""The frames that the model saw of each video, kept small while they pass by, with the attention on them.

A film is one WebP picture with the frames side by side in rows: every browser shows that without a codec, a page can
step through it frame by frame, and the film of a video is decoded only when somebody plays it. docs/study.md has the
sizes of the other forms that were measured.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from PIL import Image
from torch import Tensor

from echoviewclip.datasets.sample import Sample
from echoviewclip.inference.collect import Answers
from echoviewclip.inference.prediction import most_attended
from echoviewclip.inference.scoring import attention_of
from echoviewclip.utils.distributed import gather

WEBP = {"quality": 75, "method": 0}  # larger methods take twice the time for a tenth of the bytes
THREADS = 2  # that write pictures while the model answers about the next batch


@dataclass(frozen=True)
class Timing:
    """How long a video is.

    Attributes:
        frames: of the whole video.
        fps, heart_rate: frames a second and beats a minute; None where the file does not say.
    """

    frames: int
    fps: float | None
    heart_rate: float | None

    @property
    def seconds(self) -> float | None:
        """None where the frame rate is not known, and of a still image."""
        return self.frames / self.fps if self.fps and self.frames > 1 else None

    @property
    def beats(self) -> float | None:
        """None where the heart rate or the frame rate is not known."""
        return self.seconds * self.heart_rate / 60 if self.seconds and self.heart_rate else None


@dataclass(frozen=True)
class Film:
    """What the model saw of a video; the frames of all its clips in the order of time, each once, the middle crop.

    Attributes:
        timing: of the whole video.
        frames: where in the video each frame was, increasing.
        weights: the attention on each, over all clips and crops; they sum to 1.
        peak: which of them had the most, as `Prediction.frame` says.
        size: height and width of a frame.
        columns: frames in a row of the sheet.
        sheet, poster: WebP, all frames and the most attended one.
    """

    timing: Timing
    frames: tuple[int, ...]
    weights: tuple[float, ...]
    peak: int
    size: tuple[int, int]
    columns: int
    sheet: bytes
    poster: bytes


class FilmMaker:
    """Makes a film of each video that passes (an `inference.collect.Watch`)."""

    def __init__(self, crops: int) -> None:
        """`crops` of each clip that the model sees."""
        self.crops = crops
        self._pool = ThreadPoolExecutor(THREADS)
        self._pending: dict[int, Future[Film]] = {}
        self._done: dict[int, Film] = {}

    def __call__(self, batch: Sample, video: Tensor, answers: Answers[np.ndarray]) -> None:
        """Takes a batch in; at most one more batch of raw frames is held."""
        self._finish()
        attention = attention_of(answers)
        if attention is None:
            return
        pictures = video[:, self.crops // 2 :: self.crops].permute(0, 1, 2, 4, 5, 3).cpu().numpy()  # [B, C, T, S, S, 3]
        for row in np.flatnonzero(~answers.failed):
            weights, frames = attention[row], answers.frames[row]
            timing = Timing(int(batch.length[row]), *map(_known, (batch.fps[row], batch.heart_rate[row])))
            if np.isfinite(weights).all():
                given = pictures[row], frames, weights, self.crops, timing
                self._pending[int(answers.place[row])] = self._pool.submit(make_film, *given)

    def films(self) -> Mapping[int, Film]:
        """The films of all processes by place in the list; all of them have to call it."""
        self._finish()
        self._pool.shutdown()
        return {place: film for share in gather(self._done) for place, film in share.items()}

    def _finish(self) -> None:
        self._done |= {place: future.result() for place, future in self._pending.items()}
        self._pending = {}


def _known(value: Tensor) -> float | None:
    return None if math.isnan(value) else float(value)


def make_film(clips: np.ndarray, frames: np.ndarray, weights: np.ndarray, crops: int, timing: Timing) -> Film:
    """The film of one video.

    Args:
        clips: uint8 [C, T, S, S, 3], one crop of each clip.
        frames: int64 [C·crops·T], where each frame of each view was.
        weights: float32 [C·crops·T], the attention on it.
        crops: of each clip.
        timing: of the video.
    """
    count, length = clips.shape[:2]
    shown = frames.reshape(count, crops, length)[:, crops // 2].reshape(-1)
    places, first = np.unique(shown, return_index=True)
    _, where = np.unique(frames, return_inverse=True)  # the crops of a clip have the same frames
    together = np.bincount(where.reshape(-1), weights.astype(np.float64))
    pictures = clips.reshape(-1, *clips.shape[2:])[first]
    peak = int(np.flatnonzero(places == most_attended(weights, frames))[0])
    columns = math.ceil(math.sqrt(len(places)))
    return Film(
        timing,
        tuple(places.tolist()),
        tuple((together / max(together.sum(), 1e-12)).tolist()),
        peak,
        (clips.shape[2], clips.shape[3]),
        columns,
        _webp(lay_out(pictures, columns)),
        _webp(pictures[peak]),
    )


def lay_out(pictures: np.ndarray, columns: int) -> np.ndarray:
    """Frames uint8 [n, H, W, 3] row by row on one sheet uint8 [rows·H, columns·W, 3], black where there are no more."""
    count, height, width, _ = pictures.shape
    rows = -(-count // columns)
    sheet = np.zeros((rows * columns, height, width, 3), np.uint8)
    sheet[:count] = pictures
    return sheet.reshape(rows, columns, height, width, 3).swapaxes(1, 2).reshape(rows * height, columns * width, 3)


def _webp(picture: np.ndarray) -> bytes:
    data = io.BytesIO()
    Image.fromarray(picture).save(data, "WEBP", **WEBP)
    return data.getvalue()
