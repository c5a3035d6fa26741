"""A graph in the forms that other programs run: ONNX, ONNX in 8-bit integers, torch.export."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch.export import Dim, ExportedProgram

from echoviewclip.deploy.graph import Graph
from echoviewclip.utils.errors import UserError
from echoviewclip.utils.files import atomic_path

INPUT = "video"


def trace(graph: Graph) -> ExportedProgram:
    """The graph as torch.export sees it, for any number of videos."""
    with torch.no_grad(), _exporters_silenced():
        return torch.export.export(graph, (graph.example(),), dynamic_shapes=({0: Dim("videos", min=1)},))


def write_torch(program: ExportedProgram, graph: Graph, file: Path) -> None:
    """For `torch.export.load(FILE).module()`."""
    with atomic_path(file) as temporary:
        torch.export.save(program, temporary)


def write_onnx(program: ExportedProgram, graph: Graph, file: Path) -> None:
    """Float32. Raises UserError where a library for it is not installed."""
    _check_installed("onnx", "onnxscript")
    with _exporters_silenced():
        onnx = torch.onnx.export(
            program,
            (),
            input_names=[INPUT],
            output_names=list(graph.outputs),
            dynamic_shapes=({0: "videos"},),
            dynamo=True,
            verbose=False,
        )
    with atomic_path(file) as temporary:
        assert onnx is not None
        onnx.save(temporary)


def write_int8(program: ExportedProgram, graph: Graph, file: Path) -> None:
    """Weights of linear layers in 8-bit integers, activations quantised as they come; the rest in float32.

    The scores by distance stay as they are: they live on differences of large numbers. Raises UserError where a library
    for it is not installed.
    """
    _check_installed("onnx", "onnxscript", "onnxruntime")
    from onnxruntime.quantization import QuantType, quantize_dynamic

    whole = file.with_name(f".{file.name}.float32.onnx")
    try:
        write_onnx(program, graph, whole)
        with atomic_path(file) as temporary, _exporters_silenced():
            quantize_dynamic(
                whole,
                temporary,
                op_types_to_quantize=["MatMul", "Gemm"],
                per_channel=True,
                reduce_range=True,  # processors without VNNI add products of 8-bit integers in 16 bits, which overflow
                weight_type=QuantType.QInt8,
            )
    finally:
        whole.unlink(missing_ok=True)


FORMATS: dict[str, tuple[str, Callable[[ExportedProgram, Graph, Path], None]]] = {
    "onnx": ("model.onnx", write_onnx),
    "int8": ("model.int8.onnx", write_int8),
    "torch": ("model.pt2", write_torch),
}
"""Name of a format → its file, and what writes it."""


def _check_installed(*modules: str) -> None:
    """Raises UserError where one of them is not installed."""
    from importlib.util import find_spec

    if missing := [name for name in modules if find_spec(name) is None]:
        raise UserError(f"{', '.join(missing)} not installed: pip install -r requirements-export.txt")


@contextmanager
def _exporters_silenced() -> Iterator[None]:
    """Without what the exporters say about themselves."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
