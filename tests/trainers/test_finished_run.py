"""A finished run that is resumed has nothing to train, says so, and stays as it is."""

from __future__ import annotations

import pytest

from tests.tiny_data import history, metrics, tiny, train, without_provenance

KEPT = ("metrics.jsonl", "metrics.json", "predictions.csv", "last.pth", "best.pth")


@pytest.mark.parametrize("decay", [0.0, 0.9])
def test_a_finished_run_that_is_resumed_stays_as_it_is(tiny_folder, tmp_path, decay):
    options = {"TRAIN__AUTO_RESUME": True, "TRAIN__EPOCHS": 2, "TRAIN__EMA_DECAY": decay}
    run = train(tiny(tiny_folder, tmp_path, **options))
    before = {name: without_provenance(run / name) for name in KEPT}
    train(tiny(tiny_folder, tmp_path, **options))
    assert {name: without_provenance(run / name) for name in KEPT} == before
    assert metrics(run)["epoch"] == 1
    text = (run / "log.txt").read_text()
    assert text.count("the run is finished: 2 epochs are trained, TRAIN.EPOCHS is 2; evaluating again") == 1


def test_fewer_epochs_than_are_trained_are_a_finished_run(tiny_folder, tiny_runs, tmp_path):
    resume = str(tiny_runs["view"] / "last.pth")  # of two epochs
    run = train(tiny(tiny_folder, tmp_path, TRAIN__EPOCHS=1, MODEL__RESUME=resume))
    assert metrics(run)["epoch"] == 1
    assert history(run) == history(tiny_runs["view"]) and not (run / "last.pth").exists()
