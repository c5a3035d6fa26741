"""The phantom as a hospital's archive: DICOM files in folders by view, patients in the headers, grades in a table."""

from __future__ import annotations

from pathlib import Path

from echoviewclip.phantom.probe.views import view_names
from echoviewclip.phantom.study.study import Job, check_sizes, make_all, write_table
from echoviewclip.utils.errors import UserError
from echoviewclip.utils.label_list import read_names
from echoviewclip.utils.seeding import generator

GRADES = Path(__file__).parents[2] / "labels/quality.csv"


def generate_archive(
    root: Path, patients: int, views: int, seed: int, size: int, frames: int, workers: int, screens: bool = False,
    variety: str = "plain",
) -> Path:  # fmt: skip
    """Makes `root/VIEW/IM_NNNN.dcm` of the first `views` views, one a patient, and `root/grades.csv`; returns `root`.

    With `screens` each recording lies on a wide screen, off its centre (`phantom.study.screen`).

    `variety` is one of `study.VARIETIES`. Numbers of files say nothing. Raises UserError for impossible sizes.
    """
    check_sizes(patients, seed, size, frames, workers)
    names = view_names()
    if not 2 <= views <= len(names):
        raise UserError(f"--views must lie between 2 and {len(names)}, found {views}")
    numbers = generator(seed, 20_000).permutation(patients * views)
    jobs: list[Job] = []
    for patient in range(patients):
        for video, view in enumerate(names[:views]):
            (root / view).mkdir(parents=True, exist_ok=True)
            file = f"{view}/IM_{numbers[len(jobs)]:04d}.dcm"
            job = Job(root, seed, patient, video, file, view, "archive", size, frames, ".", screens, variety)
            jobs.append(job)
    grades = read_names(GRADES)
    made = sorted(make_all(jobs, workers), key=lambda row: row["path"])
    rows = [{"path": row["path"], "quality": grades[row["quality"]]} for row in made]
    write_table(root / "grades.csv", rows, ["path", "quality"])
    return root
