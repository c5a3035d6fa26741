"""What the figures of a large evaluation cost with their intervals, on made-up predictions."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import softmax

from echoviewclip.evaluation.predictions import Predictions
from echoviewclip.evaluation.summary import Summary, summarise
from echoviewclip.tools.benchmarks.memory import most_held

CLASSES, SCORES, VIDEOS_OF_A_PATIENT = 38, 10, 20


@dataclass(frozen=True)
class Intervals:
    """An evaluation of so many videos: its figures, wall and processors' seconds, the most memory of the process."""

    videos: int
    figures: int
    seconds: float
    cpu_seconds: float
    peak_bytes: int


def benchmark_intervals(videos: int, draws: int) -> Intervals:
    """Figures and intervals of `made_up` predictions."""
    predictions = made_up(videos)
    begin, cpu = time.perf_counter(), time.process_time()
    summary = evaluate(predictions, draws)
    seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
    return Intervals(videos, len(summary.metrics), seconds, cpu, most_held(torch.device("cpu")))


def evaluate(predictions: Predictions, draws: int) -> Summary:
    """The summary of a negation stage with τ."""
    return summarise(predictions, stage="negation", score="score0", tau=0.0, temperature=1.3, draws=draws)


def made_up(videos: int) -> Predictions:
    """Predictions of a negation stage: half insiders, a quarter each near and far outsiders; ten scores."""
    random = np.random.default_rng(0)
    kind = np.array(["in", "in", "near", "far"])[random.integers(4, size=videos)]
    inside = kind == "in"
    label = np.where(inside, random.integers(CLASSES, size=videos), -1)
    logits = random.normal(size=(videos, CLASSES))
    logits[inside, label[inside]] += 4
    apart = np.where(inside, 1.5, np.where(kind == "near", 0.3, -0.5))
    return Predictions(
        [f"{number}.avi" for number in range(videos)],
        patient=[f"P{patient}" for patient in random.integers(max(1, videos // VIDEOS_OF_A_PATIENT), size=videos)],
        set=kind,
        label=label,
        probabilities=softmax(logits, axis=1),
        negative=softmax(logits + random.normal(size=logits.shape), axis=1),
        scores={f"score{number}": random.normal(size=videos) + apart for number in range(SCORES)},
    )


def show(found: Intervals, draws: int, about: str) -> None:
    """Prints a line."""
    print(
        f"{found.videos} videos, {found.figures} figures, {draws} draws: {found.seconds:.1f} s, "
        f"{found.cpu_seconds:.1f} CPU s, {found.peak_bytes / 1e9:.2f} GB at most, on {about}"
    )
