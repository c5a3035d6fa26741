"""How far a graph's answers agree with the checkpoint's own, on a list of videos."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from yacs.config import CfgNode

from echoviewclip.datasets.configured import evaluation_batches, read_list
from echoviewclip.datasets.cropping import clips_on
from echoviewclip.datasets.reading import read, reading_faults
from echoviewclip.deploy.formats import INPUT
from echoviewclip.deploy.graph import Graph
from echoviewclip.utils.errors import UserError
from echoviewclip.utils.progress import track

CLASSES = {"view_probabilities": "view", "quality_probabilities": "grade"}
Runner = Callable[[Tensor], list[np.ndarray]]


@dataclass(frozen=True)
class Agreement:
    """Answers of a graph against those of the checkpoint in float32, over the videos of a list.

    Attributes:
        list: name of the list.
        videos: how many were compared.
        differences: the largest absolute difference of each output that is a number; of `score` as a share of its
            spread, from the 5 % to the 95 % quantile.
        same: share of videos with the same `view`, `decision` and `grade`, as far as they are answered.
        accuracy: share of videos whose `view` and `grade` are those of the list, by the checkpoint and by the graph, as
            far as the list says them.
    """

    list: str
    videos: int
    differences: dict[str, float]
    same: dict[str, float]
    accuracy: dict[str, tuple[float, float]]


def measure(config: CfgNode, graph: Graph, files: Mapping[str, Path], list_file: str) -> dict[str, Agreement]:
    """How far what was written of `graph`, in `files` by format, agrees with it on a list of the configuration's data.

    Raises UserError where the list, or every video of it, cannot be read.
    """
    annotations = read_list(config, list_file)
    runners: dict[str, Runner] = {"": lambda clips: [part.numpy() for part in graph(clips)]}
    runners |= {name: open_graph(name, file) for name, file in files.items()}
    answers: dict[str, list[list[np.ndarray]]] = {name: [] for name in runners}
    places: list[np.ndarray] = []
    loader = evaluation_batches(config, annotations)
    with reading_faults(), torch.no_grad():
        for batch in track(read(loader), "measure", len(loader), "batches"):
            good = ~batch.failed
            if not good.any():
                continue
            clips = clips_on(torch.device("cpu"), batch, config.DATA.INPUT_SIZE)[good]
            places.append(batch.place[good].numpy())
            for name, run in runners.items():
                answers[name].append(run(clips))
    if not places:
        raise UserError(f"{list_file}: no video of it can be read")
    ours, *theirs = (
        dict(zip(graph.outputs, map(np.concatenate, zip(*parts, strict=True)), strict=True))
        for parts in answers.values()
    )
    place = np.concatenate(places)
    quality = config.STAGE == "quality"
    truth = {"view": annotations.views[place] if quality else annotations.labels[place]}
    if quality:
        truth["grade"] = annotations.labels[place]
    named = zip(files, theirs, strict=True)
    return {name: compare(Path(list_file).name, ours, answer, truth) for name, answer in named}


def compare(
    name: str, ours: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray], truth: Mapping[str, np.ndarray]
) -> Agreement:
    """`Agreement` on the list `name` of outputs by name, whose first axis are the N videos.

    `truth` holds the classes of `view` and `grade`, int [N], below 0 where the list has none.
    """
    differences, same, accuracy = {}, {}, {}
    for output, values in ours.items():
        if output == "accepted":
            same["decision"] = float((values == theirs[output]).mean())
            continue
        difference = float(np.abs(values.astype(np.float64) - theirs[output]).max())
        differences[output] = difference / _spread(values) if output == "score" else difference
        if what := CLASSES.get(output):
            first, second = values.argmax(axis=1), theirs[output].argmax(axis=1)
            same[what] = float((first == second).mean())
            known = truth.get(what, np.empty(0)) >= 0
            if known.any():
                right = truth[what][known]
                accuracy[what] = float((first[known] == right).mean()), float((second[known] == right).mean())
    return Agreement(name, len(next(iter(ours.values()))), differences, same, accuracy)


def _spread(values: np.ndarray) -> float:
    low, high = np.quantile(values, [0.05, 0.95])
    return max(float(high - low), float(np.finfo(np.float32).tiny))


def open_graph(name: str, file: Path) -> Runner:
    """A written graph as a function of clips. Raises UserError where what runs it is not installed."""
    if name == "torch":
        module = torch.export.load(file).module()
        return lambda clips: [part.detach().numpy() for part in module(clips)]
    try:
        import onnxruntime
    except ImportError:
        raise UserError("onnxruntime not installed: pip install -r requirements-export.txt") from None
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    return lambda clips: session.run(None, {INPUT: clips.numpy()})
