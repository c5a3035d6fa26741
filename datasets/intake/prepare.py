"""A hospital's files made ready for training, once: the Standard Folder.

    DST/videos/NAME.avi     intra-only MJPEG of a small size, black outside the ultrasound image
    DST/prepared.json       what decides the pixels: with which options and version they were made
    DST/manifest.csv        one line a video: what it was and what became of it
    DST/LIST.txt            where SRC is a list: the same with the new names (.csv for CSV and JSON, patients hashed)
    DST/SET.csv             with a plan: lists for training, validation and test, and labels.csv
    DST-private/names.csv   which source became which name; with the salt, the only way back to a patient
    DST-private/salt        the key of the names
    DST-private/split.json  which patient is in which set
    DST-private/done.jsonl  what is done, so that a killed run goes on where it stopped

Everything that identifies a patient stays in DST-private; DST can be shared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from echoviewclip.datasets.intake.convert import convert
from echoviewclip.datasets.intake.find import LISTS, Sources, find_sources, private_folder
from echoviewclip.datasets.intake.journal import finished, is_there, open_journal, read_salt, settle
from echoviewclip.datasets.intake.names import hash_patient, target_names
from echoviewclip.datasets.intake.plan import Plan, read_plan
from echoviewclip.datasets.intake.preparation import write_note
from echoviewclip.datasets.intake.records import Options, Record
from echoviewclip.datasets.intake.sets import write_sets
from echoviewclip.datasets.intake.tables import write_list, write_tables
from echoviewclip.datasets.rows import list_kind
from echoviewclip.utils.progress import Progress
from echoviewclip.utils.workers import MAX_SECONDS, Lost, run_jobs


def prepare(
    source: Path | str,
    destination: Path,
    options: Options,
    workers: int,
    *,
    seconds: float = MAX_SECONDS,
    retry: bool = False,
    sources: Sources | None = None,
    patients: Mapping[str, str] | None = None,
) -> list[Record]:
    """Turns a folder, or a list of files, into a Standard Folder; returns a record of each source, faults among them.

    Videos that an earlier run finished are not touched; the result does not depend on how often a run was killed, nor
    on the number of `workers` (0: in this process). A file that kills its process or takes more than `seconds` is a
    fault, and left alone by later runs unless they `retry`. `sources` are found where they are not given; `patients`
    says whose each file is, by its name, in place of the DICOM headers. Raises UserError where there is nothing to do,
    the folder belongs to another run or cannot be written to.
    """
    sources = sources or find_sources(source, destination)
    names = list(sources.kinds)
    private = private_folder(destination)
    salt = settle(private, sources.root, options)
    write_note(destination, options.preparation)
    (destination / "videos").mkdir(parents=True, exist_ok=True)
    _remove_unfinished(destination)
    done = {record.source: record for record in finished(private) if not (retry and record.lost)}
    done |= {name: Record(name, skipped=why) for name, why in sources.left_out.items()}
    targets = target_names(names, options, salt)
    wanted = [name for name in names if name not in done or not is_there(done[name], destination)]
    hidden = [sources.hidden.get(name, "") for name in wanted]
    jobs = [
        (sources.root, name, destination, targets[name], options, salt, url)
        for name, url in zip(wanted, hidden, strict=True)
    ]
    try:
        with (
            open_journal(private) as add_to_journal,
            Progress("prepare", len(names), done=len(names) - len(jobs)) as progress,
        ):
            for record in _convert_all(jobs, workers, seconds):
                if record.lost or not record.fault:  # other faults are tried again next time
                    add_to_journal(record)
                done[record.source] = record
                progress.add()
    finally:
        _remove_unfinished(destination)
        if patients is not None:
            for record in done.values():
                record.patient = hash_patient(salt, patients.get(record.source, ""))
        write_tables(sorted(done.values(), key=lambda record: record.name), destination, private, options)
    if list_kind(source) in LISTS:
        write_list(source, destination, done, salt)
    return [done[name] for name in [*names, *sources.left_out]]


def prepare_sets(
    source: Path | str,
    destination: Path,
    options: Options,
    plan: Plan,
    workers: int,
    *,
    allow_outside: bool = False,
    **how: Any,
) -> tuple[list[Record], list[str]]:
    """As `prepare`, with the plan's patients and, where it has labels, lists for training, validation and test.

    `allow_outside` lets a list that is the source lead out of its folder. Returns the records, and what to tell of the
    lists that were written.
    """
    sources = find_sources(source, destination, allow_outside=allow_outside)
    targets = read_plan(plan, sources, destination)
    records = prepare(source, destination, options, workers, sources=sources, patients=targets.patients, **how)
    if not plan.labels_from:
        return records, []
    return records, write_sets(plan, targets, records, destination, read_salt(private_folder(destination)))


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
