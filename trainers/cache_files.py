"""The files of a feature cache: each holds what the frozen part of a model computed from one batch of one draw."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.utils.data import Dataset

from echoviewclip.datasets.sample import Mistake, Remark, require_all
from echoviewclip.models.outputs import FrozenFeatures
from echoviewclip.trainers.inputs import Batch
from echoviewclip.utils.files import atomic_path

HEADER = 4096  # bytes or less of a file beside its tensors, unless it names many videos that cannot be read


class Address(NamedTuple):
    """Where a clip's features are: the file of a process' batch of a draw, and the row in it."""

    draw: int
    process: int
    batch: int
    row: int

    def file(self, folder: Path) -> Path:
        """The file that holds the row."""
        return folder / f"draw_{self.draw}_process_{self.process}_batch_{self.batch}.safetensors"


class Row(NamedTuple):
    """A clip of a cached batch, without the leading dimension; `place` is −1 for an outlier.

    Attributes:
        faults: each video that could not be read for the whole batch, and why.
    """

    features: FrozenFeatures
    lit: Tensor | None
    targets: Tensor
    place: Tensor
    faults: list[Remark]


def write_batch(file: Path, features: FrozenFeatures, batch: Batch) -> None:
    """Writes the features of a batch of B videos and M outliers, [B + M, …] each. Raises UserError."""
    outliers = batch.place.new_full((len(batch.targets) - len(batch.place),), -1)
    tensors = {name: tensor for name, tensor in features._asdict().items() if tensor is not None}
    if batch.lit is not None:
        tensors["lit"] = torch.from_numpy(batch.lit)
    tensors |= {"targets": batch.targets, "place": torch.cat([batch.place, outliers])}
    with atomic_path(file) as temporary:
        contiguous = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
        save_file(contiguous, temporary, metadata={"faults": json.dumps(batch.faults)})


class CachedClips(Dataset):
    """Rows by their address, memory-mapped; a file that cannot be read is handed on as a mistake."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __getitem__(self, at: Address) -> Row | Mistake:
        file = at.file(self.folder)
        try:
            with safe_open(file, "pt") as stored:
                part = slice(at.row, at.row + 1)  # which the lowest safetensors takes for a row, too
                found = {name: stored.get_slice(name)[part][0] for name in stored.keys()}  # noqa: SIM118 – not a dict
                faults = [(name, reason) for name, reason in json.loads(stored.metadata()["faults"])]
        except FileNotFoundError:
            return Mistake(
                f"{file}: not found; of several machines all have to see the folder (TRAIN.CACHE_FOLDER), and nothing "
                "may be removed from it during a run"
            )
        except (SafetensorError, OSError) as error:
            return Mistake(f"{file}: corrupted ({error}); remove it, and it is computed again")
        lit, targets, place = found.pop("lit", None), found.pop("targets"), found.pop("place")
        return Row(FrozenFeatures(**found), lit, targets, place, faults)


def join(items: Sequence[Row | Mistake]) -> Batch | Mistake:
    """Rows as a batch, those of outliers last; the first mistake, where there is one."""
    rows = require_all(items)
    if isinstance(rows, Mistake):
        return rows
    columns = zip(*(row.features for row in rows), strict=True)
    place = torch.stack([row.place for row in rows])
    lit = [row.lit for row in rows if row.lit is not None]
    return Batch(
        seen=FrozenFeatures(*(None if column[0] is None else torch.stack(column) for column in columns)),
        lit=torch.stack(lit).numpy() if lit else None,
        targets=torch.stack([row.targets for row in rows]),
        place=place[place >= 0],
        faults=list(dict.fromkeys(remark for row in rows for remark in row.faults)),
    )
