"""Reads NIfTI-1 files (nifti.nimh.nih.gov/nifti-1): single `.nii` or `.nii.gz`, scalar voxels, any byte order."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np

HEADER_BYTES = 348
MAX_BYTES = 1 << 30  # of voxels; what declares more is not an echocardiogram
DATATYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4"}


class NiftiError(Exception):
    """A file that is not such a volume; its text begins with the file."""


def read_nifti(path: str | Path) -> tuple[np.ndarray, tuple[float, ...]]:
    """Voxels float32 [x, y, z, …], scaled as the header says, and their size along each axis.

    Orientation is left to the caller: axes are as stored, x fastest. Raises NiftiError.
    """
    opener = gzip.open if str(path).endswith(".gz") else open
    try:
        with opener(path, "rb") as file:
            header = file.read(HEADER_BYTES)
            shape, spacing, dtype, offset, slope, intercept = _parse(header)
            file.seek(offset)
            size = math.prod(shape) * dtype.itemsize
            content = file.read(size)
    except (OSError, EOFError, zlib.error, struct.error, ValueError) as error:
        raise NiftiError(f"{path}: not a NIfTI-1 volume: {error}") from None
    if len(content) < size:
        raise NiftiError(f"{path}: cut short: {len(content)} of {size} bytes of voxels")
    voxels = np.frombuffer(content, dtype).reshape(shape, order="F").astype(np.float32)
    if slope and math.isfinite(slope) and math.isfinite(intercept):  # 0: not scaled
        voxels = voxels * np.float32(slope) + np.float32(intercept)
    return voxels, spacing


def _parse(header: bytes) -> tuple[tuple[int, ...], tuple[float, ...], np.dtype, int, float, float]:
    """Shape, voxel sizes, voxel type, place of the voxels, slope and intercept."""
    if len(header) < HEADER_BYTES or header[344:348] != b"n+1\0":
        raise ValueError("the magic n+1 is missing")
    order = "<" if header.startswith(struct.pack("<i", HEADER_BYTES)) else ">"
    rank, *sizes = struct.unpack_from(order + "8h", header, 40)
    if not 1 <= rank <= 7 or min(sizes[:rank]) < 1:
        raise ValueError(f"it declares the dimensions {[rank, *sizes]}")
    (datatype,) = struct.unpack_from(order + "h", header, 70)
    if datatype not in DATATYPES:
        raise ValueError(f"voxels of type {datatype} are not scalars")
    dtype = np.dtype(order + DATATYPES[datatype])
    shape = tuple(sizes[:rank])
    if math.prod(shape) * dtype.itemsize > MAX_BYTES:
        raise ValueError(f"it declares {list(shape)} voxels")
    spacing = tuple(abs(size) or 1.0 for size in struct.unpack_from(order + "8f", header, 76)[1 : rank + 1])
    offset, slope, intercept = struct.unpack_from(order + "3f", header, 108)
    if not HEADER_BYTES <= offset <= MAX_BYTES:
        raise ValueError(f"it declares voxels at byte {offset}")
    return shape, spacing, dtype, int(offset), slope, intercept
