"""The folder of an exported checkpoint: the checkpoint itself, graphs of it, what they cost, a model card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from echoviewclip.deploy.card import write_card
from echoviewclip.deploy.formats import FORMATS, trace
from echoviewclip.deploy.graph import Graph
from echoviewclip.deploy.measure import Agreement, measure
from echoviewclip.inference.checkpoint import Checkpoint
from echoviewclip.inference.predictor import make_predictor
from echoviewclip.utils.bundle import CONFIG, REST
from echoviewclip.utils.checkpoint import export_checkpoint
from echoviewclip.utils.errors import UserError
from echoviewclip.utils.files import make_folder


def export_folder(
    checkpoint: Checkpoint,
    folder: str | Path,
    formats: Sequence[str] = (),
    measured_on: str | None = None,
    *,
    half: bool = False,
) -> dict[str, Agreement]:
    """Writes a checkpoint to `folder`, as graphs of the `formats` (names of `FORMATS`), and its MODEL_CARD.md.

    With `half` the weights are rounded to 16-bit numbers first, which all that is written answers with.
    Graphs that an earlier export left there are removed. Returns how far each graph agrees with the checkpoint on the
    list of videos `measured_on`, by format.

    Raises UserError: a format's library is missing, the folder cannot be written or holds something else, the list
    cannot be read, a weight is beyond 16-bit numbers.
    """
    if half:
        checkpoint = replace(checkpoint, weights=halve(checkpoint.weights))
    if measured_on and not formats:
        raise UserError("what a format loses is measured where formats are given: --formats onnx,int8")
    folder = make_folder(folder)
    if (folder / CONFIG).exists() and not (folder / REST).exists():
        raise UserError(f"{folder}: holds the {CONFIG} of something else, a run perhaps; export to a folder of its own")
    for file, _ in FORMATS.values():
        (folder / file).unlink(missing_ok=True)
    predictor = make_predictor(checkpoint)
    graph = Graph(predictor) if formats else None
    export_checkpoint(folder, checkpoint.content())
    files = _write_graphs(graph, folder, formats) if graph else {}
    agreements = measure(predictor.config, graph, files, measured_on) if graph and measured_on else {}
    write_card(folder / "MODEL_CARD.md", checkpoint, predictor, files, agreements)
    return agreements


def halve(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights by name with float16 in place of float32. Raises UserError where one is beyond its range, 65504."""
    halved = {name: value.half() if value.is_floating_point() else value for name, value in weights.items()}
    if beyond := [name for name, value in halved.items() if not value.isfinite().all()]:
        raise UserError(f"{beyond[0]} is too large for 16-bit numbers; export without --half")
    return halved


def _write_graphs(graph: Graph, folder: Path, formats: Sequence[str]) -> dict[str, Path]:
    program, files = trace(graph), {}
    for name in formats:
        file, write = FORMATS[name]
        write(program, graph, folder / file)
        files[name] = folder / file
    return files
