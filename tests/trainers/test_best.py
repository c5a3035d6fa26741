"""Which checkpoint is best.pth: by the first figure of the stage that an evaluation of the run has."""

from __future__ import annotations

import shutil

import pytest
import torch

from echoviewclip.trainers.saving import BEST, LAST, RunFiles
from echoviewclip.utils.checkpoint import load_checkpoint
from echoviewclip.utils.errors import UserError
from tests.tiny_data import assert_same, history, metrics, tiny, train

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
        training = load_checkpoint(run / LAST)["training"]
        chosen.append(training["figure"])
        assert training["best"] == metrics(run)["metrics"][training["figure"]]
        assert (metrics(run)["metrics"][FIRST] is None) == (training["figure"] == SECOND)
    assert sorted(chosen) == [SECOND, FIRST, FIRST]


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_best_holds_what_answers_need_and_no_state_of_the_optimiser(tiny_folder, tmp_path, average):
    run = train(tiny(tiny_folder, tmp_path, SAVE_FREQ=1, TRAIN__EMA_DECAY=average))
    best, kept = load_checkpoint(run / BEST), load_checkpoint(run / "ckpt_epoch_0.pth")
    assert best["training"] == {} and kept["training"]["optimiser"]["state"]
    assert_same(best, kept | {"training": {}})
    # The optimiser holds two numbers for each weight, a moving average one more.
    assert (run / BEST).stat().st_size < 0.45 * (run / LAST).stat().st_size


def test_a_stage_begins_anew_with_its_best_weights_in_another_folder(tiny_folder, tiny_runs, tmp_path):
    best = tiny_runs["view"] / BEST
    still = {"TRAIN__LR": 1e-12, "TRAIN__EPOCHS": 2, "MODEL__RESUME": str(best)}
    run = train(tiny(tiny_folder, tmp_path, **still))
    assert [line["epoch"] for line in history(run) if "val" in line] == [0, 1]
    learned, before = load_checkpoint(run / LAST)["model"], load_checkpoint(best)["model"]
    trained = [name for name, value in before.items() if value.is_floating_point() and "running" not in name]
    assert all(torch.allclose(learned[name], before[name], atol=1e-9) for name in trained)
    log = (run / "log.txt").read_text()
    assert f"{best}: holds weights without the state of the optimiser, so stage view begins anew with them" in log
    assert f"at epoch 1; --resume {best.with_name(LAST)} goes on with its run" in log


def test_in_its_own_folder_a_run_does_not_go_on_from_best(tiny_folder, tiny_runs, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(tiny_runs["view"] / BEST, run)
    again = tiny(tiny_folder, run, MODEL__RESUME=str(run / BEST), TRAIN__EPOCHS=3)
    with pytest.raises(UserError, match=r"best.pth: .* no last.pth is beside it .* another folder \(--output DIR\)"):
        train(again)
    shutil.copy(tiny_runs["view"] / LAST, run)
    with pytest.raises(UserError, match=rf"--resume {run / LAST} goes on with its run"):
        train(again)
    assert sorted(file.name for file in run.glob("*.pth")) == [BEST, LAST]
