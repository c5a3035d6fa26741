"""A checkpoint from Python: `echoviewclip.load("best.pth").predict("study/")` (docs/python.md)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import torch

from echoviewclip.datasets.annotations import Annotations
from echoviewclip.datasets.intake.asked import find_videos
from echoviewclip.datasets.intake.preparation import Preparation
from echoviewclip.datasets.reading import reading_faults
from echoviewclip.datasets.video.arrays import ArrayVideo
from echoviewclip.datasets.video.base import Video
from echoviewclip.inference.collect import Watch
from echoviewclip.inference.features import VideoFeatures, encode_videos
from echoviewclip.inference.parts import AnswerParts, Part
from echoviewclip.inference.precision import Precision
from echoviewclip.inference.prediction import PredictionTable
from echoviewclip.inference.predictor import (
    NO_ARRAYS,
    Changes,
    Predictor,
    load_predictor,
    open_videos,
    predict,
    predict_groups,
    tell_differences,
)
from echoviewclip.inference.stream import Stream
from echoviewclip.utils.distributed import barrier, from_main, is_main, world
from echoviewclip.utils.errors import UserError
from echoviewclip.utils.progress import Progress
from echoviewclip.utils.stopping import Stop

Source = str | Path | np.ndarray
"""A file, a folder that is searched for videos, or frames uint8 [T, H, W, 3] RGB."""


class EchoModel:
    """A checkpoint that answers about videos.

    Attributes:
        predictor: the model with all that its answers follow from.
        device: where it computes.
    """

    def __init__(self, predictor: Predictor, device: torch.device | str = "cpu") -> None:
        self.predictor, self.device = predictor, torch.device(device)

    @classmethod
    def load(
        cls, file: str | Path, device: str = "auto", *, cfg: str | Path | None = None, changes: Changes = ()
    ) -> EchoModel:
        """Reads a checkpoint.

        Args:
            file: a checkpoint of any stage.
            device: `auto` takes the GPU where there is one.
            cfg: the yaml file of a checkpoint that carries no configuration.
            changes: settings to change, (key, value) each.

        Raises:
            UserError: the file is missing, damaged or not a checkpoint, a setting is wrong.
        """
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        # As predict.py does: reading processes are of this machine, not of the one that trained.
        return cls(load_predictor(file, cfg, [("DATA.NUM_WORKERS", 0), ("DATA.DOWNLOAD_FOLDER", ""), *changes]), device)

    @property
    def views(self) -> list[str]:
        """Names of the views by class."""
        return list(self.predictor.views)

    @property
    def grades(self) -> list[str]:
        """Names of the grades, worst first; empty where the checkpoint does not grade."""
        return list(self.predictor.grades)

    @property
    def preparation(self) -> Preparation | None:
        """How its training videos were prepared, and so how raw videos are before it answers."""
        return self.predictor.preparation

    def predict(
        self, videos: Source | Sequence[Source], *, as_is: bool = False, fps: float | None = None
    ) -> PredictionTable:
        """A row for each video, in order.

        Args:
            videos: one or several files, folders or arrays of frames. Arrays are named `array 0`, `array 1`, … in the
                column `file`.
            as_is: do not prepare raw videos as the training videos were.
            fps: frames per second of the arrays, for checkpoints that sample by time.

        Raises:
            UserError: a path is not there, a folder holds no videos.
            ValueError: an array is not uint8 [T, H, W, 3].
        """
        names, arrays = _read_sources(videos, fps)
        return self.predict_files(names, as_is=as_is, arrays=arrays)

    def predict_files(
        self,
        files: Sequence[str],
        *,
        as_is: bool = False,
        arrays: Mapping[str, Video] = NO_ARRAYS,
        watch: Watch | None = None,
        stop: Stop | None = None,
    ) -> PredictionTable:
        """`predict` of videos that have been found (`find_videos`), and of `arrays` among them by their names.

        `watch` is told of each batch while its frames are here; under torchrun each process' of its own share.
        Raises Stopped where all processes agree on it (`stop`).
        """
        return predict(self.predictor, files, self.device, as_is=as_is, arrays=arrays, watch=watch, stop=stop)

    def predict_in_parts(
        self, parts: AnswerParts, *, as_is: bool = False, share: tuple[int, int] = (1, 1), stop: Stop | None = None
    ) -> None:
        """Answers about the videos that `parts` lack, part by part, as far as it is the turn of this `share`.

        A share is (place, of): the place-th, from 1, of so many that run this, at a time or one after the other. Raises
        Stopped where it is asked to `stop`, which loses the part that it was at.
        """
        total, answered = parts.count(*share), 0
        with reading_faults(), Progress("predict", total, shown=is_main()) as progress:
            missing = _missing(parts, share, progress)
            if (first := next(missing, None)) is None:
                return
            # A part that is not full is the last.
            most = total if total is not None or len(first.videos) == parts.size else len(first.videos)
            groups = ((part, part.videos) for part in chain([first], missing))
            for part, table in predict_groups(
                self.predictor, groups, self.device, progress, most=most, as_is=as_is, stop=stop
            ):
                if is_main():
                    parts.write(part, table)
                answered += len(part.videos)
                progress.move(progress.before + answered)
                barrier()

    def features(
        self, videos: Source | Sequence[Source], *, as_is: bool = False, fps: float | None = None
    ) -> VideoFeatures:
        """What the positive branch sees in each video, and in its sampled frames; arguments as for `predict`."""
        names, arrays = _read_sources(videos, fps)
        tell_differences(self.predictor, names, as_is, arrays)
        loader = open_videos(self.predictor, Annotations.of_paths(names), as_is, arrays)
        model = self.predictor.model.to(self.device).eval()
        precision = Precision(self.predictor.config.TRAIN.OPT_LEVEL, model, self.device, trains=False)
        with reading_faults():
            return encode_videos(model, loader, precision)

    def stream(self, fps: float, seconds: float = 2.0) -> Stream:
        """Answers while frames come, `fps` a second, about the last `seconds` of them."""
        return Stream(self.predictor, self.device, fps, seconds)


def _missing(parts: AnswerParts, share: tuple[int, int], progress: Progress) -> Iterator[Part]:
    """The parts of a share that have not been answered, the same on all processes; `progress` counts the others.

    It exchanges nothing while it goes on: each process is as far ahead as its reading processes are.
    """
    found = from_main(parts.found())
    for part in parts.share(*share):
        # Alone, a process also leaves out what another run has answered meanwhile.
        if part.file.name in found or (world() == 1 and part.done):
            progress.skip(len(part.videos))
        else:
            yield part


def _read_sources(videos: Source | Sequence[Source], fps: float | None) -> tuple[list[str], dict[str, ArrayVideo]]:
    """Names of all videos, and those that are in memory by name. Raises UserError and ValueError."""
    names: list[str] = []
    arrays: dict[str, ArrayVideo] = {}
    for video in [videos] if isinstance(videos, (str, Path, np.ndarray)) else videos:
        if isinstance(video, np.ndarray):
            name = f"array {len(arrays)}"
            arrays[name] = ArrayVideo(name, video, fps)
            names.append(name)
        else:
            names += find_videos([video])
    if not names:
        raise UserError("no videos given")
    return list(dict.fromkeys(names)), arrays
