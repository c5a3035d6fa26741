"""The folder of an exported checkpoint: the checkpoint itself, graphs of it, what they cost, a model card."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from echoviewclip.deploy.card import write_card
from echoviewclip.deploy.formats import FORMATS, trace
from echoviewclip.deploy.graph import Graph
from echoviewclip.deploy.measure import Loss, measure
from echoviewclip.inference.checkpoint import Checkpoint
from echoviewclip.inference.predictor import Predictor, load_predictor
from echoviewclip.utils.checkpoint import export_checkpoint
from echoviewclip.utils.errors import UserError
from echoviewclip.utils.files import make_folder


def export_folder(
    checkpoint: Checkpoint, folder: str | Path, formats: Sequence[str] = (), measured_on: str | None = None
) -> dict[str, Loss]:
    """Writes a checkpoint to `folder`, as graphs of the `formats` (names of `FORMATS`), and its MODEL_CARD.md.

    Returns what each graph loses on the list of videos `measured_on`, by format.

    Raises UserError: a format's library is missing, the folder cannot be written, the list cannot be read.
    """
    if measured_on and not formats:
        raise UserError("what a format loses is measured where formats are given: --formats onnx,int8")
    folder = make_folder(folder)
    assert checkpoint.file is not None
    predictor = load_predictor(checkpoint.file)
    files = _write_graphs(predictor, folder, formats) if formats else {}
    losses = measure(predictor, files, measured_on) if measured_on else {}
    export_checkpoint(folder, checkpoint.content())
    write_card(folder / "MODEL_CARD.md", checkpoint, predictor, files, losses)
    return losses


def _write_graphs(predictor: Predictor, folder: Path, formats: Sequence[str]) -> dict[str, Path]:
    graph = Graph(predictor)
    program, files = trace(graph), {}
    for name in formats:
        file, write = FORMATS[name]
        write(program, graph, folder / file)
        files[name] = folder / file
    return files
