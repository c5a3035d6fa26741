"""`predict.py … --report study.html`: from the command line's words to the files of the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from echoviewclip.datasets.configured import evaluation_views
from echoviewclip.datasets.sample import Sample
from echoviewclip.inference.collect import Answers
from echoviewclip.inference.explain import Explainer, Explanation
from echoviewclip.inference.prediction import PredictionTable
from echoviewclip.inference.predictor import Predictor
from echoviewclip.study.clips import to_studies
from echoviewclip.study.films import Film, FilmMaker
from echoviewclip.study.findings import find
from echoviewclip.study.groups import find_groups
from echoviewclip.study.page import Facts, write_index, write_study
from echoviewclip.study.protocol import choose_protocol
from echoviewclip.study.tables import write_tables
from echoviewclip.utils.errors import UserError
from echoviewclip.utils.files import check_writable


class StudyReport:
    """What becomes a report while a checkpoint answers about the videos of one or several studies."""

    def __init__(
        self,
        file: str | Path,
        protocol: str | None,
        paths: Sequence[str],
        predictor: Predictor,
        explain: bool = False,
    ) -> None:
        """Checks all that can be checked before the work.

        Args:
            file: the page to write, or the page over all where there are several studies.
            protocol: its name or file; None for the standard one.
            paths: as they were given on the command line.
            predictor: the checkpoint.
            explain: also show why it decided.

        Raises:
            UserError: no name of a page, a folder that cannot be written to, a protocol that is not as it should be, a
                checkpoint that cannot be explained.
        """
        self.file, self.paths, self.predictor = Path(file), list(paths), predictor
        if self.file.suffix.lower() not in (".html", ".htm") or self.file.is_dir():
            raise UserError(f"--report {file}: expected the name of a page to write, such as study.html")
        check_writable(self.file.parent)
        config = predictor.config
        names_views = predictor.model.positive_text is not None
        self.protocol = choose_protocol(protocol, predictor.views if names_views else ())
        self.groups = find_groups(config.DATA.LABEL_LIST, predictor.views)
        crops = evaluation_views(config)[1]
        self._maker = FilmMaker(crops)
        self._explainer = Explainer(predictor.model, crops) if explain else None
        self._films: Mapping[int, Film] = {}
        self._explanations: Mapping[int, Explanation] = {}

    def watch(self, batch: Sample, video: Tensor, answers: Answers[np.ndarray]) -> None:
        """To be told of each batch (an `inference.collect.Watch`)."""
        self._maker(batch, video, answers)
        if self._explainer:
            self._explainer(batch, video, answers)

    def gather(self) -> None:
        """Joins what all processes saw; each has to call it before the main one writes."""
        self._films = self._maker.films()
        if self._explainer:
            self._explanations = self._explainer.explanations()

    def write(self, table: PredictionTable) -> list[Path]:
        """Writes the report of the answers and returns its files, the page first."""
        grades = tuple(self.predictor.grades) if "quality" in table.columns else ()
        views = tuple(self.predictor.views) if "view" in table.columns else ()
        first = table[0] if "decision" in table.columns else None
        score, tau = (first.score_name, first.tau) if first else (None, None)
        facts = Facts(table.columns, views, grades, score, tau, self.protocol)
        studies = to_studies(table, self._films, self.paths, self.groups, grades, self._explanations)
        found = [find(study, self.groups, self.protocol, grades) for study in studies]
        files = [self.file, self.file.with_suffix(".csv"), self.file.with_suffix(".json")]
        write_tables(files[1], files[2], found, table.columns, self.protocol)
        if len(found) == 1:
            write_study(self.file, found[0], facts)
            return files
        # Not the page's own name, which may be that of the folder of studies; numbers, since names may be patients'.
        folder = self.file.with_name(f"{self.file.stem}-pages")
        pages = [folder / f"{number:0{max(3, len(str(len(found))))}d}.html" for number in range(1, len(found) + 1)]
        for page, one in zip(pages, found, strict=True):
            write_study(page, one, facts, index=f"../{self.file.name}")
        write_index(self.file, found, [f"{folder.name}/{page.name}" for page in pages], facts)
        return [*files, *pages]
