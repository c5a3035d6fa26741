"""What the folders of public data sets are made of."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from echoviewclip.datasets.intake.adapters.nifti import DATATYPES


def put(file: Path, text: str = "") -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def nifti(voxels: np.ndarray, spacing=(1, 1, 1), order="<", slope=0.0, intercept=0.0) -> bytes:
    """A NIfTI-1 file written by its specification."""
    code = {kind: code for code, kind in DATATYPES.items()}[voxels.dtype.str[1:]]
    header = bytearray(352)
    struct.pack_into(order + "i", header, 0, 348)
    struct.pack_into(order + "8h", header, 40, voxels.ndim, *voxels.shape, *[1] * (7 - voxels.ndim))
    struct.pack_into(order + "2h", header, 70, code, 8 * voxels.itemsize)
    struct.pack_into(order + f"{1 + len(spacing)}f", header, 76, 1, *spacing)
    struct.pack_into(order + "3f", header, 108, 352, slope, intercept)
    header[344:348] = b"n+1\0"
    return bytes(header) + voxels.astype(voxels.dtype.newbyteorder(order)).tobytes(order="F")
