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

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from datasets.intake.convert import convert
from datasets.intake.find import LISTS, find_sources, private_folder
from datasets.intake.journal import finished, is_there, open_journal, settle
from datasets.intake.names import target_names
from datasets.intake.records import Options, Record
from datasets.intake.tables import write_list, write_tables
from utils.workers import MAX_SECONDS, Lost, run_jobs


def prepare(
    source: Path,
    destination: Path,
    options: Options,
    workers: int,
    *,
    seconds: float = MAX_SECONDS,
    retry: bool = False,
) -> list[Record]:
    """Turns a folder, or a list of files, into a Standard Folder; returns a record of each source, faults among them.

    Videos that an earlier run finished are not touched; the result does not depend on how often a run was killed, nor
    on the number of `workers` (0: in this process). A file that kills its process or takes more than `seconds` is a
    fault, and left alone by later runs unless they `retry`. Raises UserError where there is nothing to do, the folder
    belongs to another run or cannot be written to.
    """
    sources = find_sources(source, destination)
    names = list(sources.kinds)
    private = private_folder(destination)
    salt = settle(private, sources.root, options)
    (destination / "videos").mkdir(parents=True, exist_ok=True)
    _remove_unfinished(destination)
    done = {record.source: record for record in finished(private) if not (retry and record.lost)}
    done |= {name: Record(name, skipped=why) for name, why in sources.left_out.items()}
    targets = target_names(names, options, salt)
    wanted = [name for name in names if name not in done or not is_there(done[name], destination)]
    jobs = [(sources.root, name, destination, targets[name], options, salt) for name in wanted]
    try:
        with (
            open_journal(private) as add_to_journal,
            tqdm(total=len(names), initial=len(names) - len(jobs), desc="prepare", unit="video") as bar,
        ):
            for record in _convert_all(jobs, workers, seconds):
                if record.lost or not record.fault:  # other faults are tried again next time
                    add_to_journal(record)
                done[record.source] = record
                bar.update()
    finally:
        _remove_unfinished(destination)
        write_tables(sorted(done.values(), key=lambda record: record.name), destination, private, options)
    if source.suffix.lower() in LISTS:
        write_list(source, destination, done, salt)
    return [done[name] for name in [*names, *sources.left_out]]


def _convert_all(jobs: Sequence[tuple[Any, ...]], workers: int, seconds: float) -> Iterator[Record]:
    """The records of all jobs as they are done."""
    if workers == 0:
        yield from (convert(*job) for job in jobs)
        return
    dead = []
    for place, answer in run_jobs(convert, jobs, workers, seconds):
        if isinstance(answer, Record):
            yield answer
        elif answer.late:
            yield _lost(jobs[place], answer)
        else:
            dead.append(jobs[place])
    for place, answer in run_jobs(convert, dead, 1, seconds):  # alone: another may have taken the memory
        yield answer if isinstance(answer, Record) else _lost(dead[place], answer)


def _lost(job: tuple[Any, ...], why: Lost) -> Record:
    _, name, _, target, *_ = job
    return Record(name, target, fault=f"{why.reason}; --retry tries again", lost=True)


def _remove_unfinished(destination: Path) -> None:
    """Removes what a killed process had begun to write."""
    for stale in (destination / "videos").rglob(".*.avi"):
        stale.unlink(missing_ok=True)
