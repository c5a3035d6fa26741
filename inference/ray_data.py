"""Prediction on a cluster that runs Ray: a checkpoint as a class with a state, for `ray.data` (docs/cluster.md).

Nothing here imports Ray: the class is what `Dataset.map_batches` asks for.
"""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np

from echoviewclip.inference.echo_model import EchoModel
from echoviewclip.inference.prediction import Prediction
from echoviewclip.inference.predictor import Changes

KINDS = {field.name: str(field.type) for field in fields(Prediction)}


class RayPredictor:
    """What a checkpoint says about the videos of a batch; each of Ray's actors loads it once."""

    def __init__(
        self,
        checkpoint: str | Path,
        device: str = "auto",
        *,
        column: str = "path",
        as_is: bool = False,
        changes: Changes = (),
    ) -> None:
        """Loads a checkpoint (`EchoModel.load`), which all machines see under the same path.

        `column` holds the paths or URLs of the videos; `as_is` and `changes` as for `predict.py`. Raises UserError.
        """
        self.model, self.column, self.as_is = EchoModel.load(checkpoint, device, changes=changes), column, as_is

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The batch with the columns of a prediction but `file` (docs/prediction.md), a row each, in order.

        Numbers are float64, nan where there is no answer; `frame` is int64, −1 where there is none; words are str,
        empty where there are none. A video that cannot be read has an `error`. Columns of the batch that are called the
        same are replaced. Raises KeyError where the batch has no column of paths.
        """
        paths = [str(path) for path in batch[self.column]]
        table = self.model.predict_files(list(dict.fromkeys(paths)), as_is=self.as_is)
        rows = {row.file: row for row in table}
        answers = {name: [getattr(rows[path], name) for path in paths] for name in table.columns if name != "file"}
        return {**batch, **{name: _column(KINDS[name], values) for name, values in answers.items()}}


def _column(kind: str, values: list) -> np.ndarray:
    """An array of one type whatever is missing in it, so that the blocks of a data set agree."""
    if kind.startswith("float"):
        return np.array(values, np.float64)
    if kind.startswith("int"):
        return np.array([-1 if value is None else value for value in values], np.int64)
    return np.array(["" if value is None else value for value in values], str)
