"""A hospital's files made ready for training, once: the Standard Folder.

    DST/videos/NAME.avi     intra-only MJPEG of a small size, black outside the ultrasound image
    DST/manifest.csv        one line a video: what it was and what became of it
    DST/LIST.txt            where SRC is a list: the same with the new names (.csv for CSV and JSON, patients hashed)
    DST-private/names.csv   which source became which name; with the salt, the only way back to a patient
    DST-private/salt        the key of the names
    DST-private/done.jsonl  what is done, so that a killed run goes on where it stopped

Everything that identifies a patient stays in DST-private; DST can be shared.
"""

from __future__ import annotations

import csv
import hashlib
import hmac
import json
import os
import secrets
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field, fields
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from av.video.reformatter import Interpolation, VideoReformatter
from torch.nn import functional as F
from tqdm import tqdm

from datasets.annotations import FIELDS, read_annotations, read_rows
from datasets.dicom import DicomVideo
from datasets.regions import Region, fitting_regions
from datasets.sector import MOSTLY_IMAGE, image_mask
from datasets.video import Video, VideoError, open_video
from utils.errors import UserError
from utils.files import atomic_path, write_text

SUFFIXES = (".mp4", ".avi", ".mov", ".m4v", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".dcm", ".dicom")
STILL_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff")
LISTS = (".txt", ".csv", ".json")
MASK_FRAMES = 32  # looked at to find the ultrasound image
JPEG_QUALITY = 3  # FFmpeg's scale for MJPEG: 2 (best) to 31
UNKNOWN_FPS = 30  # a video file must state a rate
# FFmpeg's shortcut for this conversion cuts chroma off instead of rounding it, which tints grey pictures green.
ROUNDED = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.BITEXACT


@dataclass(frozen=True)
class Options:
    """What the user may choose; see tools/prepare.py."""

    size: int = 256  # pixels of the short side; smaller videos are not enlarged
    stills: bool = False  # keep videos of one frame
    keep_names: bool = False


@dataclass
class Record:
    """What became of one source: a line of the manifest, or of the report of faults."""

    source: str  # relative to SRC
    name: str = ""  # relative to DST/videos
    patient: str = ""  # salted hash of the DICOM patient, for splits by patient
    format: str = ""
    width: int = 0
    height: int = 0
    source_width: int = 0
    source_height: int = 0
    frames: int = 0
    fps: str = ""
    heart_rate: str = ""
    modality: str = ""  # a guess: 2d, color, m-mode, pw, cw
    regions: str = ""
    masked: float = 0.0  # share of the picture painted black
    warnings: list[str] = field(default_factory=list)
    fault: str = ""
    skipped: str = ""


MANIFEST = [f.name for f in fields(Record) if f.name not in ("fault", "skipped")]


def prepare(source: Path, destination: Path, options: Options, workers: int) -> list[Record]:
    """Turns a folder, or a list of files, into a Standard Folder; returns a record of each source, faults among them.

    Videos that an earlier run finished are not touched; the result does not depend on how often a run was killed, nor
    on the number of workers. Raises UserError where there is nothing to do or the folder belongs to another run.
    """
    root, names = find_sources(source, destination)
    private = destination.parent / f"{destination.name}-private"
    salt = _settle(private, root, options)
    (destination / "videos").mkdir(parents=True, exist_ok=True)
    for stale in (destination / "videos").rglob(".*.avi"):  # what a killed run had begun
        stale.unlink()
    done = {record.source: record for record in _finished(private / "done.jsonl")}
    targets = target_names(names, options, salt)
    wanted = [name for name in names if name not in done or not _is_there(done[name], destination)]
    jobs = [(root, name, destination, targets[name], options, salt) for name in wanted]
    with (private / "done.jsonl").open("a", encoding="utf-8") as journal:
        journal.write("\n")  # ends a line that a killed run left half written
        for record in _run(jobs, workers, total=len(names)):
            if not record.fault:  # faults are tried again next time
                journal.write(json.dumps(asdict(record)) + "\n")
                journal.flush()
            done[record.source] = record
    _write_tables(sorted(done.values(), key=lambda record: record.name), destination, private, options)
    if source.suffix.lower() in LISTS:
        _write_list(source, destination, done, salt)
    return [done[name] for name in names]


def find_sources(source: Path, destination: Path) -> tuple[Path, list[str]]:
    """The folder that names are relative to, and the sorted names of all files that may be videos."""
    if source.is_file() and source.suffix.lower() in LISTS:
        # Any labels will do, but only CSV and JSON tell several labels from a path that ends in numbers.
        target = "class" if source.suffix.lower() == ".txt" else "multilabel"
        listed = read_annotations(source, target=target)
        return Path(listed.folder), sorted({listed.name(i) for i in range(len(listed))})
    if source.is_file():
        return source.parent, [source.name]
    if not source.is_dir():
        raise UserError(f"{source}: no such folder or list of videos (SRC)")
    own = destination.resolve()
    names = [
        str(path.relative_to(source))
        for folder, _, files in os.walk(source)
        if own not in (Path(folder).resolve(), *Path(folder).resolve().parents)
        for path in (Path(folder) / file for file in files)
        if _may_be_video(path)
    ]
    if not names:
        raise UserError(f"{source}: holds no DICOM or video files (SRC)")
    return source, sorted(names)


def _may_be_video(path: Path) -> bool:
    suffix = path.suffix.lower()
    if suffix in SUFFIXES + STILL_SUFFIXES:
        return True
    if suffix and not suffix[1:].isdigit():  # DICOM files are often named by numbers, with dots
        return False
    if path.name == "DICOMDIR" or not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return True  # to be reported as unreadable


def target_names(names: Sequence[str], options: Options, salt: bytes) -> dict[str, str]:
    """Name of the prepared video for each source: a salted hash, or with `keep_names` its own."""
    if not options.keep_names:
        return {name: f"{_hash(salt, name)}.avi" for name in names}
    short = {name: str(Path(name).with_suffix(".avi")) for name in names}
    taken = Counter(short.values())
    return {name: target if taken[target] == 1 else f"{name}.avi" for name, target in short.items()}


def convert(root: Path, name: str, destination: Path, target: str, options: Options, salt: bytes) -> Record:
    """Reads one source, paints everything but ultrasound black, writes the small video. Faults go into the record."""
    record = Record(name, target)
    path = root / name
    try:
        with open_video(path) as video:
            if len(video) == 1 and not options.stills:
                record.skipped = "a still image (kept with --stills)"
                return record
            _describe(video, record, salt)
            sample = video.frames(np.linspace(0, len(video) - 1, min(MASK_FRAMES, len(video))).round().astype(int))
            regions = fitting_regions(video.regions, *sample.shape[-2:])
            if video.regions and not regions:
                record.warnings.append("the region tags do not fit the picture and were not used")
            sample = sample.permute(0, 2, 3, 1).numpy()
            mask, confidence = image_mask(sample, regions)
            if confidence < MOSTLY_IMAGE:
                record.warnings.append(
                    "the ultrasound image was not found for sure; nothing was painted black, burned-in text may remain"
                )
                mask = np.ones_like(mask)
            record.masked = round(float(1 - mask.mean()), 4)
            record.modality = guess_modality(sample, mask, regions)
            file = destination / "videos" / target
            with atomic_path(file) as temporary:
                size = write_mjpeg(temporary, _small(video, mask, options.size), video.fps, video.heart_rate)
            record.height, record.width = size
    except VideoError as error:
        return Record(name, target, fault=error.reason)
    return record


def _describe(video: Video, record: Record, salt: bytes) -> None:
    record.format = type(video).__name__.removesuffix("Video").lower().replace("pyav", "video")
    record.frames = len(video)
    record.fps = f"{video.fps:.4g}" if video.fps else ""
    record.heart_rate = f"{video.heart_rate:.4g}" if video.heart_rate else ""
    record.source_width, record.source_height = video.width, video.height
    record.regions = " ".join(map(str, video.regions))
    if isinstance(video, DicomVideo) and video.dataset.get("PatientID"):
        record.patient = _hash(salt, f"patient {video.dataset.PatientID}")
    if not video.fps and len(video) > 1:
        record.warnings.append(f"the frame rate is not known; the file says {UNKNOWN_FPS}")


def _small(video: Video, mask: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """All frames, masked, with their short side at most `size`."""
    height, width = mask.shape
    scale = min(1.0, size / min(height, width))
    shape = max(1, round(height * scale)), max(1, round(width * scale))
    keep = torch.from_numpy(mask[..., None].astype(np.uint8))
    for frame in video.iterate():
        pixels = (torch.from_numpy(frame) * keep).permute(2, 0, 1)[None]
        if shape != (height, width):
            pixels = F.interpolate(pixels, shape, mode="bilinear", antialias=True)
        yield pixels[0].permute(1, 2, 0).contiguous().numpy()


def write_mjpeg(
    path: str | Path, frames: Iterable[np.ndarray], fps: float | None = None, heart_rate: float | None = None
) -> tuple[int, int]:
    """Writes frames uint8 [H, W, 3] RGB as an AVI of JPEG images, the same bytes each time; returns (height, width).

    AVI has no field for the heart rate (beats/min); it stands in the comment, where `datasets.video_pyav` finds it.
    """
    with av.open(str(path), "w", format="avi", container_options={"fflags": "bitexact"}) as container:
        if heart_rate:
            container.metadata["comment"] = f"heart_rate={heart_rate:.4g}"
        stream = container.add_stream("mjpeg", rate=Fraction(fps or UNKNOWN_FPS).limit_denominator(1001))
        stream.pix_fmt = "yuvj420p"
        context = stream.codec_context
        context.color_range = 2  # JPEG: 0 to 255
        context.flags |= 0x2 | 0x800000  # fixed quality; bit-exact
        context.qmin = context.qmax = JPEG_QUALITY
        context.global_quality = JPEG_QUALITY * 118
        convert = VideoReformatter()
        for number, frame in enumerate(frames):
            if number == 0:
                stream.height, stream.width = frame.shape[:2]
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            picture = convert.reformat(picture, format=stream.pix_fmt, dst_color_range=2, interpolation=ROUNDED)
            picture.pts = number
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return frame.shape[:2]


def guess_modality(frames: np.ndarray, mask: np.ndarray, regions: Sequence[Region]) -> str:
    """What kind of ultrasound uint8 frames [T, H, W, 3] show: by the region tags, else 2d or color by the pixels."""
    types = {region.data_type for region in regions}
    if "m-mode" in {region.spatial_format for region in regions}:
        return "m-mode"
    for kind, data_type in (("cw", "cw"), ("pw", "pw"), ("color", "color flow")):
        if data_type in types:
            return kind
    pixels = frames[:, mask].astype(np.int16)
    colored = (pixels.max(-1) - pixels.min(-1)) > 60
    return "color" if colored.mean() > 0.005 else "2d"


def _run(jobs: list[tuple[Any, ...]], workers: int, total: int) -> Iterator[Record]:
    with tqdm(total=total, initial=total - len(jobs), desc="prepare", unit="video") as bar:
        if workers <= 1 or len(jobs) <= 1:
            for job in jobs:
                yield convert(*job)
                bar.update()
            return
        with ProcessPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            futures = [pool.submit(convert, *job) for job in jobs]
            try:
                for future in as_completed(futures):
                    yield future.result()
                    bar.update()
            finally:
                pool.shutdown(cancel_futures=True)  # an interruption does not wait for all that is left


def _settle(private: Path, root: Path, options: Options) -> bytes:
    """The salt of this folder, made on the first run; later runs must have the same source and options."""
    private.mkdir(parents=True, exist_ok=True)
    settings = json.dumps({"source": str(root.resolve()), **asdict(options)}, indent=1)
    if (private / "settings.json").exists():
        if (private / "settings.json").read_text() != settings:
            raise UserError(
                f"{private / 'settings.json'}: an earlier run had another source or other options; "
                "use those, or another DST"
            )
        return (private / "salt").read_bytes()
    with atomic_path(private / "salt") as temporary:
        temporary.write_bytes(secrets.token_bytes(32))
    (private / "salt").chmod(0o600)
    write_text(private / "settings.json", settings)
    return (private / "salt").read_bytes()


def _hash(salt: bytes, text: str) -> str:
    return hmac.new(salt, text.encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()[:20]


def _finished(journal: Path) -> Iterator[Record]:
    """Records of earlier runs; the last line may be half written."""
    if journal.exists():
        for line in journal.read_text(encoding="utf-8").split("\n"):
            try:
                yield Record(**json.loads(line))
            except (json.JSONDecodeError, TypeError):
                continue


def _is_there(record: Record, destination: Path) -> bool:
    return bool(record.skipped) or (destination / "videos" / record.name).is_file()


def _write_tables(records: list[Record], destination: Path, private: Path, options: Options) -> None:
    with (
        atomic_path(destination / "manifest.csv") as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(MANIFEST)
        for record in records:
            if record.fault or record.skipped:
                continue
            row = asdict(record) | {"warnings": "; ".join(record.warnings)}
            row["source"] = record.source if options.keep_names else ""
            writer.writerow([row[column] for column in MANIFEST])
    with (
        atomic_path(private / "names.csv") as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(["name", "source", "skipped", "fault"])
        writer.writerows([record.name, record.source, record.skipped, record.fault] for record in records)


def _write_list(source: Path, destination: Path, done: dict[str, Record], salt: bytes) -> None:
    rows = [row for row in read_rows(source) if not done[row.path].fault and not done[row.path].skipped]
    if source.suffix.lower() == ".txt":
        lines = [f"{done[row.path].name} {row.label}".rstrip() for row in rows]
        write_text(destination / source.name, "\n".join(lines) + "\n")
        return
    with (
        atomic_path(destination / f"{source.stem}.csv") as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(FIELDS)
        for row in rows:
            patient = _hash(salt, f"patient {row.patient}") if row.patient else ""
            writer.writerow([done[row.path].name, row.label, patient, row.quality, row.score])
