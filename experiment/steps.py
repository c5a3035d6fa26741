"""The steps of an experiment: each stage trained, then its best checkpoint evaluated; whole, or on one fold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from yacs.config import CfgNode

from echoviewclip.experiment.fingerprint import GRADED, find_list
from echoviewclip.experiment.folds import Fold
from echoviewclip.trainers.folder import results_folder
from echoviewclip.utils.config import load_config
from echoviewclip.utils.config.choices import STAGES
from echoviewclip.utils.errors import UserError

Options = list[tuple[str, str]]


@dataclass(frozen=True)
class Step:
    """One call of main.py.

    Attributes:
        stage: one of STAGES.
        trains: else it evaluates.
        file: configuration.
        options: settings over it.
        folder: where its results go.
        judged: the list of an evaluation: test, or validation where there is none.
    """

    stage: str
    trains: bool
    file: Path
    options: Options
    folder: Path
    judged: str = ""

    @property
    def title(self) -> str:
        """What it does, in a few words."""
        return f"stage {STAGES.index(self.stage) + 1}, {self.stage}: {'training' if self.trains else 'evaluation'}"

    @property
    def arguments(self) -> list[str]:
        """Of main.py."""
        given = [part for option in self.options for part in option]
        return ["-cfg", str(self.file), "--no-next", *(["--opts", *given] if given else [])]

    def config(self) -> CfgNode:
        """The settings that it will run with. Raises UserError."""
        return load_config(self.file, self.options)


def stage_files(folder: Path) -> dict[str, Path]:
    """The configuration of each stage that is there, in order. Raises UserError where the first is missing."""
    files = {stage: folder / f"{stage}.yaml" for stage in STAGES}
    if not files["view"].is_file():
        raise UserError(f"{files['view']}: no such file; tools/new.py writes the files of an experiment")
    return {stage: file for stage, file in files.items() if file.is_file()}


def experiment_folder(folder: Path, options: Sequence[tuple[str, str]] = ()) -> Path:
    """The folder that holds those of the stages."""
    return Path(load_config(stage_files(folder)["view"], options).OUTPUT).parent


def all_steps(configs: Path, options: Sequence[tuple[str, str]]) -> list[Step]:
    """The steps of an experiment on its own lists, with `options` over all files."""
    steps = []
    for stage, file in stage_files(configs).items():
        config = load_config(file, options)
        output = Path(config.OUTPUT)
        steps.append(Step(stage, True, file, [*options, ("TRAIN.AUTO_RESUME", "True")], output))
        # Figures of the list that chose the checkpoint are too good: where there is a test list, it counts.
        test = find_list(Path(config.DATA.ROOT), f"{GRADED}test" if stage == "quality" else "test")
        own = [("TEST.ONLY_TEST", "True"), ("MODEL.RESUME", str(output / "best.pth"))]
        own += [("DATA.VAL_FILE", test.name)] if test else []
        folder = results_folder(load_config(file, [*options, *own]))
        steps.append(Step(stage, False, file, [*options, *own], folder, "test" if test else "validation"))
    return steps


def steps_of_fold(folder: Path, options: Sequence[tuple[str, str]], fold: Fold) -> list[Step]:
    """The steps of one fold: training alone, which ends with the evaluation of the videos that are held out.

    The last checkpoint counts and not the best, which the held-out videos themselves would have chosen.
    """
    steps, earlier = [], None
    for stage, file in stage_files(folder).items():
        config = load_config(file, options)
        start = GRADED if stage == "quality" else ""
        own = [
            ("OUTPUT", str(fold.folder / stage)),
            ("DATA.TRAIN_FILE", str(fold.folder / f"{start}train.csv")),
            ("DATA.VAL_FILE", str(fold.folder / f"{start}val.csv")),
            ("EVAL_FREQ", str(config.TRAIN.EPOCHS)),
            ("TRAIN.AUTO_RESUME", "True"),
        ]
        if earlier:
            own.append(("MODEL.RESUME", str(earlier / "last.pth")))
        earlier = fold.folder / stage
        steps.append(Step(stage, True, file, [*options, *own], earlier))
    return steps
