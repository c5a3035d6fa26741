"""The benchmark measures what it says."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from echoviewclip.inference.precision import Precision
from echoviewclip.tools import benchmark
from echoviewclip.tools.benchmarks import black, cache, clips, forward, prediction, result, training
from echoviewclip.tools.benchmarks.cases import PLAIN, STAGES, Setting, build
from echoviewclip.tools.benchmarks.timing import Timing, alternate, clock
from echoviewclip.tools.benchmarks.work import largest_linear, operations, product, product_operations
from echoviewclip.utils.errors import UserError, exit_code

CPU = torch.device("cpu")
SMALL = Setting("tiny", 2, CPU, {"DATA.INPUT_SIZE": 32, "DATA.NUM_FRAMES": 2})


def test_the_video_is_a_sector_of_speckle_that_moves_and_is_always_the_same():
    video = clips.speckle(12, 96)
    assert video.shape == (12, 96, 96, 3) and video.dtype == np.uint8
    assert (video == clips.speckle(12, 96)).all()
    assert video[:, :3].max() == 0 and video[:, 60, 48].min() > 0
    changes = np.abs(np.diff(video[..., 0].astype(int), axis=0))[:, 40:80, 40:56].mean((1, 2))
    assert changes.min() > 1


def test_times_are_the_least_of_the_repeats_for_one_clip(monkeypatch):
    times = iter([0, 0, 0.8, 1, 1.4, 2, 2.6, 3])  # three repeats of 800, 400 and 600 ms
    monkeypatch.setattr(clips.time, "perf_counter", lambda: next(times))
    monkeypatch.setattr(clips.time, "process_time", lambda: 0.0)
    epochs = []
    assert clips.best(epochs.append, 3) == pytest.approx((400 / clips.CLIPS, 0))
    assert epochs == [0, *list(range(clips.CLIPS)) * 3]


def test_the_command_shows_every_step_of_both_forms(monkeypatch, capsys, tmp_path):
    measure = clips.benchmark_data
    monkeypatch.setattr(clips, "benchmark_data", lambda seconds: measure(seconds, side=64, length=20))
    monkeypatch.setattr(clips, "CLIPS", 1)
    command = ["benchmark.py", "data", "--seconds", "0", "--json", str(tmp_path / "data.json")]
    monkeypatch.setattr(sys, "argv", command)
    threads = torch.get_num_threads()
    assert exit_code(benchmark.main) == 0
    torch.set_num_threads(threads)
    steps = [line.rsplit(maxsplit=5) for line in capsys.readouterr().out.splitlines()[3:6]]
    assert [step[0] for step in steps] == ["codec alone", "frames as RGB", "whole worker path"]
    for _, *numbers, ratio in steps:
        wall, cpu, wall_prepared, cpu_prepared = (float(number.strip("()")) for number in numbers)
        assert min(wall, cpu, wall_prepared, cpu_prepared) > 0
        assert float(ratio) == pytest.approx(cpu / cpu_prepared, abs=0.3)
    written = json.loads((tmp_path / "data.json").read_text())
    assert [row["video"] for row in written["rows"]] == ["recorded", "prepared"]


def test_forms_take_turns_and_each_comes_first(monkeypatch):
    order: list[str] = []
    timings = alternate({name: lambda name=name: order.append(name) for name in "ab"}, CPU, repeats=3, warm_up=2)
    assert "".join(order) == "aabb" + "ab" + "ba" + "ab"
    assert all(len(timing.wall) == len(timing.cpu) == 3 for timing in timings.values())


def test_a_clock_tells_the_wall_s_time_and_the_processor_s():
    wall, cpu = clock(lambda: sum(range(1_000_000)), CPU)
    assert 0 < cpu < 1.1 * wall + 0.02


def test_ratios_are_of_rounds_which_what_slows_both_leaves_alone():
    busy = np.array([1.0, 7.0, 3.0])
    slow, fast = Timing(2 * busy, busy), Timing(busy, busy / 4)
    assert slow.slower_than(fast) == 2 and slow.busier_than(fast) == 4
    assert slow.quartiles == (4, 6, 10)


def test_operations_are_those_of_the_products_of_matrices_attention_s_too():
    x = torch.randn(3, 5)
    assert operations(lambda: nn.functional.linear(x, torch.randn(7, 5))) == 2 * 3 * 5 * 7
    q = torch.randn(2, 4, 6, 8)
    assert operations(lambda: nn.functional.scaled_dot_product_attention(q, q, q)) == 2 * (2 * 2 * 4 * 6 * 6 * 8)


def test_the_ceiling_has_the_shape_that_computes_most():
    model = nn.ModuleList([nn.Linear(4, 6), nn.Linear(9, 2)])
    many, few = torch.randn(2, 5, 4), torch.randn(3, 9)
    shape = largest_linear(model, lambda: (model[0](many), model[1](few)))
    assert shape == (10, 4, 6) and product_operations(shape) == 2 * 10 * 4 * 6
    for times in (1, 3):
        assert operations(product(shape, times, Precision("O0", model, CPU))) == times * product_operations(shape)


def test_the_plain_model_reads_77_tokens_every_time_and_the_trunk_twice():
    plain, ours = (build(SMALL, "quality", form).eval() for form in (PLAIN, "ours"))
    assert plain.positive_text.prompts.embeddings.shape[1] == 77
    assert ours.positive_text.prompts.embeddings.shape[1] < 77
    counts = {}
    for model, name in ((plain, PLAIN), (ours, "ours")):
        hook = model.trunk.register_forward_hook(lambda *_, name=name: counts.update({name: counts.get(name, 0) + 1}))
        calls = model.trunk.forward_intermediates

        def counted(*args, calls=calls, name=name, **kwargs):
            counts[name] = counts.get(name, 0) + 1
            return calls(*args, **kwargs)

        model.trunk.forward_intermediates = counted
        precision = Precision("O0", model, CPU, trains=False)
        forward.answer(SMALL, model, precision, forward.PARTS["quality"], plain=name == PLAIN)()
        hook.remove()
    assert counts["ours"] == 1 and counts[PLAIN] >= 2


def check(rows, works, forms) -> None:
    assert [(row.work, row.form) for row in rows] == [(work, form) for work in works for form in forms]
    for row in rows:
        assert 0 < row.low <= row.seconds <= row.high and row.cpu_seconds > 0 and row.ceiling > 0
        assert math.isfinite(row.share) and row.speedup > 0 and row.cpu_speedup > 0
    for row in rows[:: len(forms)]:
        assert row.speedup == row.cpu_speedup == 1


@pytest.mark.usefixtures("no_bfloat16")
def test_forward_has_a_row_for_each_question_and_form():
    rows = forward.benchmark_forward(SMALL, repeats=2)
    check(rows, [f"forward, {name}" for name in ("view", "negation", "quality")], [PLAIN, "O0"])
    counted = {(row.work.split()[-1], row.form): row.operations for row in rows}
    assert counted["view", "O0"] < counted["negation", "O0"] < counted["quality", "O0"] < counted["quality", PLAIN]
    assert {row.precision for row in rows} == {"float32"}


@pytest.mark.slow
@pytest.mark.usefixtures("bfloat16")
def test_training_has_a_row_for_each_stage_and_form():
    rows = training.benchmark_train(SMALL, repeats=1)
    check(rows, [f"training step, {stage}" for stage in STAGES], [PLAIN, "O0", "O1"])
    assert [row.precision for row in rows[:3]] == ["float32", "float32", "bfloat16"]
    assert all(row.operations > 0 for row in rows)


def test_a_training_step_changes_the_weights():
    model = training.model_of(SMALL, "view", "ours")
    before = model.positive.projection.detach().clone()
    made = training.step(SMALL, "view", "O0", model, Precision("O0", model, CPU))()
    assert not made.failed and not torch.equal(model.positive.projection, before)


def test_cache_has_a_row_for_each_stage_whole_and_from_the_cache():
    stages = cache.benchmark_cache(SMALL, repeats=2)
    assert [stage.stage for stage in stages] == list(cache.STAGES)
    for stage in stages:
        check(stage.rows, [f"step from files, {stage.stage}"], ["whole", "cached"])
        whole, cached = stage.rows
        assert 0 < cached.operations < whole.operations  # what is frozen is not computed again
        assert stage.clip_bytes > 0


@pytest.mark.slow
def test_black_has_a_row_with_all_patches_and_one_without_those_that_are_black(monkeypatch, capsys):
    monkeypatch.setattr(black, "VIDEOS", 3)
    found = black.benchmark_black(replace(SMALL, arch="ViT-tiny/16", smaller={"DATA.INPUT_SIZE": 112}), repeats=1)
    check(found.rows, ["forward, quality", "training step, view"], [black.OFF, black.ON])
    assert all(on.operations < off.operations for off, on in zip(found.rows[::2], found.rows[1::2], strict=True))
    assert len(found.black) == 5 and all(0.05 < share < 0.6 for share in found.black.values())
    black.show(found)
    assert f"measured {found.black['measured']:.3f}; as made, evaluation " in capsys.readouterr().out
    with pytest.raises(UserError, match="tiny computes all patches"):
        black.benchmark_black(SMALL, repeats=1)


def test_the_measured_clips_are_those_whose_share_of_black_is_nearest_the_mean():
    clips = black.Clips(torch.arange(4)[:, None], np.arange(4)[:, None], np.array([0.1, 0.9, 0.4, 0.2]))
    assert clips.typical(2).black.tolist() == [0.4, 0.2] and clips.typical(2).video.tolist() == [[2], [3]]
    assert clips.typical(5).lit.tolist() == [[2], [3], [0], [1], [2]]


def test_the_command_shows_what_a_clip_takes_in_the_cache(monkeypatch, capsys, tmp_path):
    rows = [
        result.Measured(
            "step from files, quality", "whole", "float32", 1, 0.5, 2, 1.5, 10**9, 2e9, 0.5, 1, 1, 3 * 10**9
        )
    ]
    monkeypatch.setattr(cache, "benchmark_cache", lambda *given: [cache.Cached("quality", rows, 2_340_000)])
    file = tmp_path / "cache.json"
    monkeypatch.setattr(sys, "argv", ["benchmark.py", "cache", "--device", "cpu", "--json", str(file)])
    assert exit_code(benchmark.main) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "step from files, quality" in lines[3] and lines[-1].endswith("quality: 2.34 MB a clip and draw")
    (written,) = json.loads(file.read_text())["rows"]
    assert (written["stage"], written["clip_bytes"], written["rows"][0]["form"]) == ("quality", 2_340_000, "whole")


def test_a_step_from_the_cache_trains_and_one_that_fails_ends_the_benchmark(tmp_path):
    small = replace(SMALL, smaller={**SMALL.smaller, **cache.settings_in(str(tmp_path))})
    config = small.config("quality", "ours")
    cache.write_data(config, tmp_path)
    model = build(small, "quality", "ours")
    trainer, cached = cache.training(config, model, CPU)
    before = [p.detach().clone() for p in trainer.precision.trained.values()]
    run = cache.step(trainer, cache.batches_of(cached))
    for _ in range(2):  # the rate of the first step of a warm-up is 0
        run()
    assert any(not torch.equal(p, old) for p, old in zip(trainer.precision.trained.values(), before, strict=True))
    with torch.no_grad():
        next(iter(trainer.precision.trained.values())).fill_(torch.nan)
    with pytest.raises(UserError, match="the loss or the gradient is not finite"):
        run()


def test_predict_reads_files_and_answers():
    rows = prediction.benchmark_predict(SMALL, repeats=1, side=64, length=8)
    check(rows, ["predict, 2 videos"], ["singly", "batch", "reading", "model"])
    assert [row.operations > 0 for row in rows] == [True, True, False, True]


def test_the_command_prints_a_table_and_writes_its_figures(monkeypatch, capsys, tmp_path):
    measured = result.Measured("forward, view", PLAIN, "float32", 1, 0.5, 2, 1.5, 10**9, 2e9, 0.5, 1, 1, 3 * 10**9)
    asked = []
    monkeypatch.setitem(benchmark.ROUNDS, "forward", lambda *given: asked.append(given) or [measured])
    file = tmp_path / "forward.json"
    command = ["benchmark.py", "forward", "--arch", "tiny", "--device", "cpu", "--repeats", "3", "--json", str(file)]
    monkeypatch.setattr(sys, "argv", command)
    assert exit_code(benchmark.main) == 0
    assert asked == [(Setting("tiny", benchmark.CPU_BATCH, CPU), 3)]
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("tiny, 2 videos of 4 frames at 112×112, on ")
    assert (
        lines[3].split()[:4] == ["forward,", "view", PLAIN, "float32"]
        and "50%" in lines[3]
        and lines[3].endswith(" 3.00")
    )
    written = json.loads(file.read_text())
    assert written["benchmark"] == "forward" and written["rows"][0]["operations"] == 10**9
    assert set(written) == {"benchmark", "arguments", "date", "device", "torch", "rows"}


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["data", "--seconds", "-1"], "--seconds must be at least 0, found -1.0"),
        (["forward", "--batch", "0"], "--batch must be at least 1, found 0"),
        (["start", "--repeats", "0"], "--repeats must be at least 1, found 0"),
        (["train", "--device", "cuda"], "--device is cuda, but no CUDA device is visible"),
    ],
)
def test_mistakes_of_the_user(monkeypatch, capsys, command, words):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["benchmark.py", *command])
    assert exit_code(benchmark.main) == 2
    assert words in capsys.readouterr().err


@pytest.mark.slow
def test_prepared_videos_are_at_least_eight_times_as_fast():
    recorded, prepared = clips.benchmark_data(3)
    assert recorded["whole worker path"][1] > 8 * prepared["whole worker path"][1]
