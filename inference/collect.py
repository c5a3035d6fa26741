"""What a model answers about every video of a list, exactly once, whatever the number of processes and views."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from typing_extensions import NamedTuple  # generic ones, before Python 3.11

from echoviewclip.datasets.ahead import sent_ahead
from echoviewclip.datasets.cropping import cut_clips, send_pixels
from echoviewclip.datasets.reading import read, videos_of
from echoviewclip.datasets.sample import Sample
from echoviewclip.datasets.transforms import DeviceTransform
from echoviewclip.evaluation.feature_statistics import Distances, FeatureStatistics
from echoviewclip.inference.precision import Precision
from echoviewclip.inference.replayed import Replayed
from echoviewclip.models.outputs import BranchOutput, ClassTexts, ModelOutput, present
from echoviewclip.models.quality import expected_score
from echoviewclip.models.video_clip import VideoCLIP
from echoviewclip.utils.distributed import gather, is_main, world
from echoviewclip.utils.progress import Progress
from echoviewclip.utils.stopping import Stop

Watch = Callable[[Sample, Tensor, "Answers[np.ndarray]"], None]
"""Is told of each batch: the samples, their clips as the model saw them, uint8 [B, V, T, 3, S, S], and the answers.

It is called without gradients, in the precision that the model answers in."""

Values = TypeVar("Values", np.ndarray, Tensor)  # on the device while they are collected, arrays afterwards


class ViewAnswers(NamedTuple, Generic[Values]):
    """What a branch says about N videos; float32 arrays, or tensors on the device.

    Attributes:
        features: [N, D], the mean of its views' unit features; None where they were not asked for.
        attention: [N, V·T], the weight of each frame; a video's sum to 1.
        cosines, logits, probabilities: [N, K]; None in a model without text. The negative branch's class is the one it
            denies least.
    """

    features: Values | None
    attention: Values
    cosines: Values | None
    logits: Values | None
    probabilities: Values | None


class QualityAnswers(NamedTuple, Generic[Values]):
    """What the quality branch says about N videos: logits and probabilities [N, G], score [N], attention [N, V·T].

    `defects`: probabilities [N, D]; None in a model that knows none.
    """

    attention: Values
    logits: Values
    probabilities: Values
    score: Values
    defects: Values | None = None


class Answers(NamedTuple, Generic[Values]):
    """What a model answers about the N videos of a list; None for the parts that it lacks.

    Attributes:
        place: int64 [N], places in the list.
        failed: bool [N], videos that could not be read; their numbers are nan.
        frames: int64 [N, V·T], where in the video each frame of each view was.
        intermediates: float32 [N, S], intermediate features, each of unit length, side by side: what the scores by
            distance look at. Not the branches' features: `VideoCLIP.intermediate_blocks` says why, docs/results.md has
            the figures. None where they were not asked for.
        distances: float64 arrays [N], the scores by distance where statistics are known.
    """

    place: Values
    failed: Values
    frames: Values
    positive: ViewAnswers[Values] | None
    negative: ViewAnswers[Values] | None
    quality: QualityAnswers[Values] | None
    intermediates: Values | None
    distances: Distances | None = None


Collected = tuple[Answers[np.ndarray], dict[str, str], dict[str, str]]
"""Answers, and by name why videos could not be read and what is not as it should be in others."""


def collect(
    model: VideoCLIP,
    loader: DataLoader,
    transform: DeviceTransform,
    precision: Precision,
    title: str,
    stop: Stop | None = None,
    *,
    fitted: FeatureStatistics | None = None,
    features: bool = False,
    watch: Watch | None = None,
) -> Collected:
    """Every answer of the model about every video of the loader's data set, in the order of its list.

    Returns the answers as arrays, and by name why videos could not be read and what is not as it should be in others.

    `loader` yields this process' share; the shares of all processes are put together. Several views of a video
    (clips × crops) become one: logits, cosines and features are averaged, and everything else that is said of the video
    follows from those means, probabilities as well as the scores in or out of distribution. Raises Stopped where all
    processes agree on it.

    Answers leave the device batch by batch. By the statistics of training features `fitted`, videos are scored as they
    come; features and intermediate features are kept only where `features` are asked for, so that without them memory
    grows by the answers alone. `watch` is told of this process' batches while they are here.
    """
    size, batch_size = videos_of(loader).size, present(loader.batch_size)
    collector = Collector(model, transform, precision, size, batch_size, stop, fitted, features, watch)
    videos = len(videos_of(loader))
    with Progress(title, videos, shown=is_main()) as progress:
        return collector.collect(read(loader), videos, progress)


class Collector:
    """`collect` for one list after the other: what it takes besides the videos is made ready once."""

    @torch.no_grad()
    def __init__(
        self,
        model: VideoCLIP,
        transform: DeviceTransform,
        precision: Precision,
        size: int,
        batch_size: int,
        stop: Stop | None = None,
        fitted: FeatureStatistics | None = None,
        features: bool = False,
        watch: Watch | None = None,
    ) -> None:
        """`size` is the edge of clips, `batch_size` the number of videos of a whole batch; the rest as in `collect`."""
        model.eval()
        with precision.autocast():
            texts = model.encode_texts(model.parts)
        self.encode = _Encode(model, texts, precision)
        self.transform, self.precision, self.size, self.batch_size = transform, precision, size, batch_size
        self.stop, self.fitted, self.features, self.watch = stop, fitted, features, watch

    @torch.no_grad()
    def collect(self, samples: Iterable[Sample], videos: int, progress: Progress) -> Collected:
        """As `collect` of a list of so many `videos`, of which `samples` are the batches of this process' share."""
        device, stream = self.precision.device, self.fitted.stream() if self.fitted else None
        batches = sent_ahead(samples, partial(send_pixels, device=device), device)
        if self.stop:
            batches = self.stop.between(batches, -(-videos // (world() * self.batch_size)))
        kept: list[Answers[np.ndarray]] = []
        faults: dict[str, str] = {}
        warnings: dict[str, str] = {}
        for batch in batches:
            faults |= dict(batch.faults)
            warnings |= dict(batch.warnings)
            video = cut_clips(batch, self.size)
            found = _answers(self.encode, batch, video, self.batch_size, self.transform)
            answers = zip_with(lambda part: part.cpu().numpy(), found)
            if self.watch:
                with self.precision.autocast():
                    self.watch(batch, video, answers)
            if stream:
                stream.add(answers.intermediates)
            kept.append(answers if self.features else without_features(answers))
            progress.add(len(batch.place) * world())  # the other processes are about as far
        own = zip_with(lambda *parts: np.concatenate(parts), *kept) if kept else None
        if own and stream:
            own = own._replace(distances=stream.result())
        faults, warnings = ({k: v for share in gather(words) for k, v in share.items()} for words in (faults, warnings))
        return _in_order([share for share in gather(own) if share is not None]), faults, warnings


class _Encode:
    """Clips [N, T, 3, S, S] → what the model says of them; work that repeats is replayed on a GPU."""

    def __init__(self, model: VideoCLIP, texts: ClassTexts, precision: Precision) -> None:
        self.model, self.texts, self.precision = model, texts, precision
        self.replayed = Replayed(self._compute)

    def __call__(self, clips: Tensor, lit: np.ndarray | None) -> ModelOutput:
        # Where black patches are left out, the next batch has another number of tokens.
        return self.replayed(clips) if lit is None else self._compute(clips, lit)

    def _compute(self, clips: Tensor, lit: np.ndarray | None = None) -> ModelOutput:
        with self.precision.autocast():
            return self.model(clips, self.model.parts, self.texts, lit)


def _answers(encode: _Encode, batch: Sample, video: Tensor, size: int, transform: DeviceTransform) -> Answers[Tensor]:
    """What the model answers about the clips `video` of a batch, a row a video, on the device.

    `size` is the number of videos of a whole batch.
    """
    count, views = video.shape[:2]
    # Kernels round differently for batches of another size: filled up, the last one of a share has the usual size,
    # and an answer does not depend on how many processes share the list.
    video = _filled(video, size)
    lit = None if batch.lit is None else _filled(batch.lit, size).flatten(0, 1).numpy()
    answers = merge_views(encode(transform(video.flatten(0, 1)), lit), views)
    where = (batch.place, batch.failed, batch.frames.flatten(1))
    return Answers(*where, *(zip_with(lambda values: values[:count], part) for part in answers))


def _filled(values: Tensor, size: int) -> Tensor:
    """The first dimension filled up to `size` by the last value."""
    return torch.cat([values, values[-1:].expand(size - len(values), *values.shape[1:])])


def without_features(answers: Answers[np.ndarray]) -> Answers[np.ndarray]:
    """The same without what only those need who fit or judge features: most of its memory."""
    positive, negative = (part and part._replace(features=None) for part in (answers.positive, answers.negative))
    return answers._replace(positive=positive, negative=negative, intermediates=None)


def merge_views(
    output: ModelOutput, views: int
) -> tuple[ViewAnswers[Tensor] | None, ViewAnswers[Tensor] | None, QualityAnswers[Tensor] | None, Tensor | None]:
    """Output about V views of each of N videos, one after the other → `Answers` from positive to intermediates."""
    quality = None
    if output.quality is not None:
        logits = _mean(output.quality.logits, views)
        weights = _side_by_side(output.quality.attention, views)
        defects = None if output.quality.defects is None else _mean(output.quality.defects, views).sigmoid()
        quality = QualityAnswers(weights, logits, logits.softmax(dim=-1), expected_score(logits), defects)
    return (
        _branch_answers(output.positive, views, sign=1),
        _branch_answers(output.negative, views, sign=-1),
        quality,
        distance_features([_mean(part, views) for part in output.intermediates.values()]),
    )


def _branch_answers(output: BranchOutput | None, views: int, sign: int) -> ViewAnswers[Tensor] | None:
    """Probabilities follow from `sign` times the logits: the negative branch's say how strongly it denies."""
    if output is None:
        return None
    features, weights = _mean(output.features, views), _side_by_side(output.attention, views)
    if output.logits is None:
        return ViewAnswers(features, weights, None, None, None)
    logits = _mean(output.logits, views)
    return ViewAnswers(
        features, weights, _mean(present(output.cosines), views), logits, (sign * logits).softmax(dim=-1)
    )


def _mean(values: Tensor, views: int) -> Tensor:
    """[N·V, …] → [N, …]."""
    return values if views == 1 else values.unflatten(0, (-1, views)).mean(dim=1)


def _side_by_side(weights: Tensor, views: int) -> Tensor:
    """Weights of frames [N·V, T] that sum to 1 → [N, V·T] that do."""
    return weights.unflatten(0, (-1, views)).flatten(1) / views


def distance_features(parts: Sequence[Tensor]) -> Tensor | None:
    """Features [N, S_i], each part divided by its length, side by side [N, S]; None without any, 0 stays 0."""
    if not parts:
        return None
    lengths = [part.norm(dim=1, keepdim=True) for part in parts]
    return torch.cat([part / torch.where(n > 0, n, 1) for part, n in zip(parts, lengths, strict=True)], dim=1)


def zip_with(combine: Callable[..., Any], first: Any, *others: Any) -> Any:
    """Named tuples of the same form → one of it, of what `combine` makes of the values at each place; None stays."""
    if first is None:
        return None
    if isinstance(first, tuple):
        return type(first)(*(zip_with(combine, *values) for values in zip(first, *others, strict=True)))
    return combine(first, *others)


def _in_order(shares: Sequence[Answers[np.ndarray]]) -> Answers[np.ndarray]:
    """The shares of all processes as one, in the order of the list; nan where a video could not be read."""
    answers = zip_with(lambda *parts: np.concatenate(parts), *shares)
    order = np.argsort(answers.place, kind="stable")
    failed = answers.failed[order].astype(bool)

    def sort(values: np.ndarray) -> np.ndarray:
        values = values[order]
        if values.dtype.kind == "f":
            values[failed] = np.nan
        return values

    return zip_with(sort, answers)._replace(failed=failed)
