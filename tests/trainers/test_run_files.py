"""All files of a run that was killed and resumed are those of the run that was not."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from echoviewclip.trainers import history as lines_of
from echoviewclip.trainers.evaluate import Evaluator
from echoviewclip.utils.checkpoint import load_checkpoint, save_checkpoint
from tests.tiny_data import assert_same, assert_same_files, history, tiny, train

TWO_EPOCHS = {
    "TRAIN__EPOCHS": 2,
    "TRAIN__BATCH_SIZE": 5,  # two batches an epoch
    "TRAIN__SAVE_STEPS": 1,
    "TRAIN__AUTO_RESUME": True,
    "SAVE_FREQ": 1,
    "PRINT_FREQ": 2,
}


class Killed(BaseException):
    """The process ends here; nothing handles it."""


@contextmanager
def killed_at(moment: str | int, patch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Kills at a moment, given in words or as its number: before a file gets its name, after it has, within a line, …

    Yields the moments that were met.
    """
    met: list[str] = []

    def meet(what: str) -> None:
        met.append(what)
        if moment in (what, len(met) - 1):
            raise Killed

    def replace(self: Path, target: Path) -> Path:
        meet(f"before {target.name}")
        named = rename(self, target)
        meet(f"after {target.name}")
        return named

    def write(self: lines_of.MetricsLog, *arguments, **record) -> None:
        meet("before a line")
        write_line(self, *arguments, **record)
        try:
            meet("within a line")
        except Killed:
            self.file.write_bytes(self.file.read_bytes()[:-10])
            raise
        meet("after a line")

    def evaluate(self: Evaluator, *arguments, **named):
        meet("before an evaluation")
        return answers(self, *arguments, **named)

    rename, write_line, answers = Path.replace, lines_of.MetricsLog.write, Evaluator.__call__
    with patch.context() as patched:
        patched.setattr(Path, "replace", replace)
        patched.setattr(lines_of.MetricsLog, "write", write)
        patched.setattr(Evaluator, "__call__", evaluate)
        yield met


@pytest.fixture(scope="module")
def whole(tiny_folder, tmp_path_factory) -> tuple[Path, Path, list[str]]:
    """The folder to run in, a copy of what an undisturbed run left there, and the moments at which one can kill it."""
    folder = tmp_path_factory.mktemp("whole")
    with killed_at("never", pytest.MonkeyPatch()) as moments:
        train(tiny(tiny_folder, folder / "run", **TWO_EPOCHS))
    return folder / "run", Path(shutil.copytree(folder / "run", folder / "copy")), moments


def test_there_is_a_moment_before_and_after_everything_that_a_run_leaves(whole):
    moments = set(whole[2])
    for name in ("config.yaml", "last.pth", "best.pth", "ckpt_epoch_1.pth", "metrics.json", "predictions.csv"):
        assert {f"before {name}", f"after {name}"} <= moments
    assert {"before a line", "within a line", "before an evaluation"} <= moments


CHAIN = (
    "after config.yaml",
    "within a line",
    "before last.pth",
    "before an evaluation",
    "before best.pth",
    "after best.pth",
    "after ckpt_epoch_0.pth",
    "before last.prev.pth",
    "after last.prev.pth",
    "before ckpt_epoch_1.pth",
    "before metrics.json",
    "before predictions.csv",
)


def resumed_after(moments: Iterable[str | int], tiny_folder: Path, run: Path, patch: pytest.MonkeyPatch) -> list[bool]:
    """Runs until it is done, killed at one moment after the other; whether each was met."""
    killed = []
    for moment in moments:
        with killed_at(moment, patch):
            try:
                train(tiny(tiny_folder, run, **TWO_EPOCHS))
                killed.append(False)
            except Killed:
                killed.append(True)
    return killed


def test_a_run_killed_again_and_again_leaves_the_files_of_one_that_was_not(whole, tiny_folder, monkeypatch):
    run, copy, _ = whole
    shutil.rmtree(run)
    assert resumed_after([*CHAIN, "never"], tiny_folder, run, monkeypatch) == [True] * len(CHAIN) + [False]
    assert_same_files(run, copy)


@pytest.fixture
def run(whole) -> Path:
    """The run as it was when it ended."""
    folder, copy, _ = whole
    shutil.rmtree(folder, ignore_errors=True)
    return Path(shutil.copytree(copy, folder))


def test_a_finished_run_that_is_resumed_changes_nothing_but_is_evaluated_again(whole, run, tiny_folder):
    for name in ("metrics.json", "predictions.csv", "report.html"):
        (run / name).unlink()
    train(tiny(tiny_folder, run, **TWO_EPOCHS))
    assert_same_files(run, whole[1])


@pytest.mark.parametrize("damage", ["removed", "cut off", "of another epoch"])
def test_a_best_checkpoint_that_is_lost_is_written_again_from_the_epoch_s_own(whole, run, tiny_folder, damage):
    best, epoch = run / "best.pth", load_checkpoint(run / "best.pth")["epoch"]
    other = (run / f"ckpt_epoch_{1 - epoch}.pth").read_bytes()
    best.unlink()
    if damage != "removed":
        best.write_bytes(other if damage == "of another epoch" else other[:1000])
    train(tiny(tiny_folder, run, **TWO_EPOCHS))
    assert_same_files(run, whole[1])


def test_a_run_without_its_best_checkpoint_keeps_the_best_from_then_on(run, tiny_folder):
    for file in ("best.pth", "ckpt_epoch_0.pth", "ckpt_epoch_1.pth"):
        (run / file).unlink()
    content = load_checkpoint(run / "last.pth")
    content["training"]["best"] = 2.0  # of an evaluation that no file is left of
    save_checkpoint(run / "last.pth", content)
    train(tiny(tiny_folder, run, **TWO_EPOCHS | {"TRAIN__EPOCHS": 3}))
    assert load_checkpoint(run / "best.pth")["epoch"] == 2
    assert "is lost: best.pth will be the best from now on" in (run / "log.txt").read_text()


@pytest.mark.parametrize("name", ["ckpt_epoch_0.pth", "best.pth"])
def test_a_run_that_goes_on_in_another_folder_takes_its_past_along(whole, run, tiny_folder, tmp_path, name):
    if name == "best.pth":  # as earlier versions wrote it, with the optimiser's state
        shutil.copy(run / "ckpt_epoch_0.pth", run / name)
    resume = {"MODEL__RESUME": str(run / name), "TRAIN__AUTO_RESUME": False}
    train(tiny(tiny_folder, tmp_path / "new", **TWO_EPOCHS | resume))
    assert history(tmp_path / "new") == history(whole[1])
    assert_same(
        load_checkpoint(tmp_path / "new" / "best.pth")["model"], load_checkpoint(whole[1] / "best.pth")["model"]
    )


@pytest.mark.parametrize("torn", ["metrics.jsonl", "before the first checkpoint"])
def test_a_line_torn_by_a_kill_is_dropped_wherever_it_is(whole, run, tiny_folder, torn):
    if torn != "metrics.jsonl":
        for file in run.glob("*.pth"):
            file.unlink()
    lines = (run / "metrics.jsonl").read_bytes()
    (run / "metrics.jsonl").write_bytes(lines + b'{"step": 5, "epo{"step": 9}\n{"st')
    train(tiny(tiny_folder, run, **TWO_EPOCHS))
    assert_same_files(run, whole[1])


def test_checkpoints_of_an_earlier_version_go_on_with_the_lines_up_to_their_step(run, tiny_folder):
    content = load_checkpoint(run / "ckpt_epoch_0.pth")
    for name in ("best_epoch", "shown", "lines", "bad_videos"):
        del content["training"][name]
    save_checkpoint(run / "last.pth", content)
    before = history(run)
    with (run / "metrics.jsonl").open("ab") as lines:
        lines.write(b'{"step": 1, "torn')
    train(tiny(tiny_folder, run, **TWO_EPOCHS))
    assert history(run) == before


def test_last_prev_is_the_checkpoint_before_the_last(run, tiny_folder):
    last, previous = (load_checkpoint(run / name)["training"] for name in ("last.pth", "last.prev.pth"))
    # Saved before the evaluation of the last epoch, and after it.
    assert (previous["epoch"], previous["batch"], last["epoch"], last["batch"]) == (1, 2, 2, 0)
    assert previous["step"] == last["step"]


def test_a_damaged_last_checkpoint_does_not_take_the_place_of_the_one_before(run, tiny_folder, monkeypatch):
    previous = (run / "last.prev.pth").read_bytes()
    (run / "last.pth").write_bytes(b"damaged")
    resume = {"MODEL__RESUME": str(run / "last.prev.pth"), "TRAIN__AUTO_RESUME": False}
    with killed_at("before last.pth", monkeypatch), pytest.raises(Killed):
        train(tiny(tiny_folder, run, **TWO_EPOCHS | resume))
    assert (run / "last.prev.pth").read_bytes() == previous
