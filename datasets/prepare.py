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

import json
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from datasets.intake.convert import convert
from datasets.intake.find import LISTS, find_sources
from datasets.intake.journal import finished, is_there, settle
from datasets.intake.names import target_names
from datasets.intake.records import Options, Record
from datasets.intake.tables import write_list, write_tables


def prepare(source: Path, destination: Path, options: Options, workers: int) -> list[Record]:
    """Turns a folder, or a list of files, into a Standard Folder; returns a record of each source, faults among them.

    Videos that an earlier run finished are not touched; the result does not depend on how often a run was killed, nor
    on the number of workers. Raises UserError where there is nothing to do or the folder belongs to another run.
    """
    root, names = find_sources(source, destination)
    private = destination.parent / f"{destination.name}-private"
    salt = settle(private, root, options)
    (destination / "videos").mkdir(parents=True, exist_ok=True)
    for stale in (destination / "videos").rglob(".*.avi"):  # what a killed run had begun
        stale.unlink()
    done = {record.source: record for record in finished(private / "done.jsonl")}
    targets = target_names(names, options, salt)
    wanted = [name for name in names if name not in done or not is_there(done[name], destination)]
    jobs = [(root, name, destination, targets[name], options, salt) for name in wanted]
    with (private / "done.jsonl").open("a", encoding="utf-8") as journal:
        journal.write("\n")  # ends a line that a killed run left half written
        for record in _run(jobs, workers, total=len(names)):
            if not record.fault:  # faults are tried again next time
                journal.write(json.dumps(asdict(record)) + "\n")
                journal.flush()
            done[record.source] = record
    write_tables(sorted(done.values(), key=lambda record: record.name), destination, private, options)
    if source.suffix.lower() in LISTS:
        write_list(source, destination, done, salt)
    return [done[name] for name in names]


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
