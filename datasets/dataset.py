"""Videos of a list as training and evaluation samples."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch.utils.data import Dataset

from echoviewclip.datasets.annotations import Annotations
from echoviewclip.datasets.cropping import EvalCrop, TrainCrop
from echoviewclip.datasets.epoch_order import Draw
from echoviewclip.datasets.forward import ForwardReader
from echoviewclip.datasets.sample import Remark, Sample
from echoviewclip.datasets.sampling import clip_indices
from echoviewclip.datasets.shard_order import Turn
from echoviewclip.datasets.transforms import lit_pixels, swap_background
from echoviewclip.datasets.video.base import VideoError, errors_name
from echoviewclip.datasets.video.open import Opener, open_video
from echoviewclip.utils.errors import UserError
from echoviewclip.utils.seeding import generator
from echoviewclip.utils.workers import time_limit

Clips = tuple[torch.Tensor, torch.Tensor | None, torch.Tensor]
Timing = tuple[int, float, float]  # a video's length, fps and heart rate as in `Sample`
UNTIMED: Timing = (0, math.nan, math.nan)

MAX_REPLACEMENTS = 10  # unreadable videos in a row after which training cannot go on


class VideoDataset(Dataset):
    """Map-style data set; sample `i` depends on (seed, epoch, i) and on nothing else.

    It is asked for by `i`, by a turn of a shard sampler, which also says what to read ahead, or by a further draw of a
    balanced sampler, whose sample depends on how many there were before as well.

    In training an unreadable video is replaced by another, drawn from the same (seed, epoch, i), and everything else
    is that of the replacement. In evaluation nothing is replaced: `video` is zero and must not be used.
    """

    def __init__(
        self,
        annotations: Annotations,
        *,
        frames: int = 16,
        size: int = 224,
        train: bool = False,
        seed: int = 0,
        decoder: str = "pyav",
        sampling: str = "uniform",
        stride_seconds: float = 0.04,
        scales: Sequence[float] = (1, 0.875, 0.75, 0.66),
        background_swap: float = 0.0,
        clips: int = 1,
        crops: int = 1,
        resize_on_device: bool = False,
        finds_black: bool = False,
        seconds: float = 0,
        opener: Opener | None = None,
    ) -> None:
        """`frames` T, `size` S, `sampling` and `stride_seconds` as in `datasets.sampling`.

        A video that takes more than `seconds` to read (0: any time) is unreadable. `opener` opens them (`open_video`).
        `finds_black`: samples say which pixels are lit, which needs clips that are resized here.

        Training: `scales` of the crop, `background_swap` the probability of another video's background around the
        image. Evaluation: temporal `clips` and spatial `crops` of each video.
        """
        self.annotations = annotations
        self.frames, self.size, self.train, self.seed, self.decoder = frames, size, train, seed, decoder
        self.sampling, self.stride_seconds = sampling, stride_seconds
        self.clips, self.crops = (1, 1) if train else (clips, crops)
        self.background_swap = background_swap if train else 0.0
        self.resize_on_device, self.seconds = resize_on_device, seconds
        self.forward = ForwardReader(annotations, seconds)
        self.opener = opener or self.forward.open
        self.finds_black = finds_black
        self.crop = TrainCrop(size, scales) if train else EvalCrop(size, crops)
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()  # persistent workers see it change

    def set_epoch(self, epoch: int) -> None:
        """Call before iterating over an epoch; reaches workers that are already running."""
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        return len(self.annotations)

    def name(self, video: int) -> str:
        """What the list calls a video, by its place."""
        return self.annotations.name(video)

    def __getitem__(self, index: int | Turn | Draw) -> Sample:
        repeats: list[int] = []
        if isinstance(index, Turn):
            self.forward.begin(index)
            index = index.video
        elif isinstance(index, Draw):
            index, *repeats = index
        random = generator(self.seed, int(self._epoch), index, *repeats)
        device_seed = int(random.integers(2**63))
        faults: list[Remark] = []
        warnings: tuple[str, ...] = ()
        clips, timing = None, UNTIMED
        while clips is None:
            try:
                clips, timing, warnings = self._clips(self.annotations.path(index), random)
            except VideoError as error:
                faults.append((self.annotations.name(index), error.reason))
                if not self.train:
                    clips = self._no_clips()
                elif len(faults) > MAX_REPLACEMENTS:
                    raise UserError(f"{len(faults)} videos in a row cannot be read; the last: {error}") from None
                else:
                    index = int(random.integers(len(self)))
        label = self.annotations.labels[index]
        video, box, frames = clips
        return Sample(
            video=video,
            box=box,
            lit=lit_pixels(video) if self.finds_black else None,
            frames=frames,
            label=torch.from_numpy(label) if isinstance(label, np.ndarray) else torch.tensor(int(label)),
            score=torch.tensor(float(self.annotations.scores[index])),
            defects=torch.from_numpy(self.annotations.defects[index]),
            place=torch.tensor(index),
            seed=torch.tensor(device_seed),
            length=torch.tensor(timing[0]),
            fps=torch.tensor(timing[1], dtype=torch.float64),
            heart_rate=torch.tensor(timing[2], dtype=torch.float64),
            failed=torch.tensor(bool(faults)),
            faults=faults,
            warnings=[(self.annotations.name(index), "; ".join(warnings))] if warnings else [],
        )

    def _clips(self, path: str, random: np.random.Generator) -> tuple[Clips, Timing, tuple[str, ...]]:
        """`video`, `box` and `frames` of one video's sample, its timing and its warnings; raises VideoError."""
        with errors_name(path), time_limit(self.seconds), self.opener(path, self.decoder) as video:
            indices = clip_indices(
                len(video),
                self.frames,
                mode=self.sampling,
                fps=video.fps,
                heart_rate=video.heart_rate,
                stride_seconds=self.stride_seconds,
                generator=random if self.train else None,
                clips=self.clips,
            )
            pixels, warnings = video.frames(indices.flatten()), video.warnings
            timing = len(video), video.fps or math.nan, video.heart_rate or math.nan
        if self.train and random.random() < self.background_swap:
            pixels = swap_background(pixels, self._any_frame(random))
        frames = torch.from_numpy(indices).repeat_interleave(self.crops, dim=0)
        if self.resize_on_device:
            height, width = pixels.shape[-2:]
            boxes = torch.tensor(self.crop.boxes(height, width, random))
            return (pixels.unflatten(0, (-1, self.frames)), boxes.repeat(self.clips, 1), frames), timing, warnings
        squares = [self.crop(clip, random) for clip in pixels.split(self.frames)]
        return (squares[0] if len(squares) == 1 else torch.cat(squares), None, frames), timing, warnings

    def _no_clips(self) -> Clips:
        """As `_clips`, black, from nowhere."""
        views = self.clips * self.crops
        frames = torch.full((views, self.frames), -1)
        if self.resize_on_device:
            boxes = torch.tensor([[0, 0, 1, 1]]).repeat(views, 1)
            return torch.zeros(self.clips, self.frames, 3, 1, 1, dtype=torch.uint8), boxes, frames
        return torch.zeros(views, self.frames, 3, self.size, self.size, dtype=torch.uint8), None, frames

    def _any_frame(self, random: np.random.Generator) -> torch.Tensor:
        """uint8 [3, H, W] of another video; black where it cannot be read (it is reported when its own turn comes)."""
        try:
            path = self.annotations.path(int(random.integers(len(self))))
            with errors_name(path), time_limit(self.seconds), self.opener(path, self.decoder) as video:
                return video.frames([int(random.integers(len(video)))])[0]
        except VideoError:
            return torch.zeros(3, 1, 1, dtype=torch.uint8)


def frames_from(lists: Sequence[Annotations], decoder: str = "pyav") -> Callable[[str, np.ndarray], np.ndarray | None]:
    """A reader of frames by the names that `lists` give their videos.

    It takes a name and indices int64 [n] and returns uint8 [n, H, W, 3], or None where the video cannot be read.
    """
    paths = {videos.name(i): videos.path(i) for videos in lists for i in range(len(videos))}

    def frames(name: str, indices: np.ndarray) -> np.ndarray | None:
        if name not in paths:
            return None
        try:
            with open_video(paths[name], decoder) as video:
                return video.frames(indices).permute(0, 2, 3, 1).numpy()
        except (VideoError, IndexError):
            return None

    return frames
