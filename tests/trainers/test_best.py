"""Which checkpoint is best.pth: by the first figure of the stage that an evaluation of the run has."""

from __future__ import annotations

import pytest

from echoviewclip.trainers.saving import BEST, RunFiles
from echoviewclip.utils.checkpoint import load_checkpoint
from tests.tiny_data import metrics, tiny, train

FIRST, SECOND = "quality/quadratic_kappa", "quality/accuracy"


@pytest.mark.parametrize(
    ("evaluations", "chosen", "figure"),
    [
        ([{FIRST: 0.5}, {FIRST: 0.4}, {FIRST: 0.6}], [0, 2], FIRST),
        ([{SECOND: 0.5}, {SECOND: 0.4}, {SECOND: 0.6}], [0, 2], SECOND),
        ([{SECOND: 0.9}, {FIRST: -0.2, SECOND: 0.1}, {SECOND: 1.0}], [0, 1], FIRST),  # never back to the second
        ([{FIRST: 0.5}, {SECOND: 1.0}, {}, {FIRST: 0.6}], [0, 3], FIRST),
        ([{}, {}], [], SECOND),
    ],
)
def test_the_first_figure_that_is_there_decides(tmp_path, evaluations, chosen, figure):
    files = RunFiles(tiny(tmp_path, tmp_path, SAVE_FREQ=0), (FIRST, SECOND))
    names = [files.names_of_epoch(epoch, found) for epoch, found in enumerate(evaluations)]
    assert [epoch for epoch, kept in enumerate(names) if kept == [BEST]] == chosen
    assert (files.figure, files.best_epoch) == (figure, chosen[-1] if chosen else -1)


def test_where_kappa_is_not_defined_there_is_a_best_checkpoint_all_the_same(tiny_folder, tiny_runs, tmp_path):
    """Of one video the kappa is not defined where its grade is the one that the model gives."""
    name = (tiny_folder / "quality_val.txt").read_text(encoding="utf-8").splitlines()[0].rsplit(" ", 1)[0]
    resume = {"MODEL__RESUME": str(tiny_runs["negation"] / "last.pth"), "TRAIN__LR": 1e-9}
    chosen = []
    for grade in range(3):
        (tmp_path / f"{grade}.txt").write_text(f"{name} {grade}\n", encoding="utf-8")
        lists = {"DATA__VAL_FILE": str(tmp_path / f"{grade}.txt")}
        run = train(tiny(tiny_folder, tmp_path / str(grade), "quality", **lists, **resume))
        training = load_checkpoint(run / BEST)["training"]
        chosen.append(training["figure"])
        assert training["best"] == metrics(run)["metrics"][training["figure"]]
        assert (metrics(run)["metrics"][FIRST] is None) == (training["figure"] == SECOND)
    assert sorted(chosen) == [SECOND, FIRST, FIRST]
