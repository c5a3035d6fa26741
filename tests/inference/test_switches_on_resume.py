"""What is switched on or off between a run and its resume takes effect from the weights that the run trained."""

from __future__ import annotations

import torch

from echoviewclip.inference.precision import Precision
from echoviewclip.utils.checkpoint import load_checkpoint
from tests.tiny_data import assert_same, tiny, train


def differs(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return any(not torch.equal(one[name], other[name]) for name in one)


def test_a_run_whose_average_is_switched_off_goes_on_from_its_raw_weights(tiny_folder, tmp_path):
    settings = {"TRAIN__AUTO_RESUME": True, "TRAIN__LR_SCHEDULER": "constant", "TRAIN__OPT_LEVEL": "O2"}
    plain, averaged = tmp_path / "plain", tmp_path / "averaged"
    for run, decay in ((plain, 0.0), (averaged, 0.9)):
        train(tiny(tiny_folder, run, TRAIN__EPOCHS=1, TRAIN__EMA_DECAY=decay, **settings))
    first = load_checkpoint(averaged / "last.pth")
    assert differs(first["model"], first["training"]["weights"])
    for run in (plain, averaged):
        train(tiny(tiny_folder, run, TRAIN__EPOCHS=2, **settings))
    without, switched = (load_checkpoint(run / "last.pth") for run in (plain, averaged))
    assert_same(switched["model"], without["model"])
    assert_same(switched["training"]["optimiser"], without["training"]["optimiser"])
    assert "weights" not in switched["training"]


def test_an_average_that_is_switched_on_starts_from_the_weights(tiny_folder, tmp_path):
    settings = {"TRAIN__AUTO_RESUME": True, "TRAIN__LR_SCHEDULER": "constant"}
    train(tiny(tiny_folder, tmp_path, TRAIN__EPOCHS=1, **settings))
    before = load_checkpoint(tmp_path / "last.pth")["model"]
    # At a rate of almost 0 the weights stay, and so does an average that started from them.
    train(tiny(tiny_folder, tmp_path, TRAIN__EPOCHS=2, TRAIN__EMA_DECAY=0.9, TRAIN__LR=1e-30, **settings))
    after = load_checkpoint(tmp_path / "last.pth")
    assert after["training"]["average_steps"] > 0
    trained = [name for name in before if "running_" not in name and "num_batches" not in name]
    for name in trained:
        torch.testing.assert_close(after["model"][name], before[name], rtol=1e-6, atol=1e-7)


def test_a_scaler_starts_anew_after_a_run_that_had_none_and_is_ignored_where_none_is_needed():
    model = torch.nn.Linear(2, 2)
    with_scaler, without = (Precision("O1", model, torch.device("cpu")) for _ in range(2))
    with_scaler.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    with_scaler.load_scaler(without.scaler.state_dict())
    assert with_scaler.scaler.get_scale() == 1024.0
    without.load_scaler(with_scaler.scaler.state_dict())
    assert without.scaler.state_dict() == {}
    state = with_scaler.scaler.state_dict() | {"scale": 8.0}
    with_scaler.load_scaler(state)
    assert with_scaler.scaler.get_scale() == 8.0
