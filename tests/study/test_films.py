"""Films: the frames that the model saw, at their moments, with the attention that it gave to them."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from echoviewclip.inference.collect import Answers, QualityAnswers, ViewAnswers
from echoviewclip.inference.echo_model import EchoModel
from echoviewclip.inference.predictor import load_predictor
from echoviewclip.study.films import FilmMaker, Timing, lay_out, make_film
from tests.study.builders import pixels

SIZE = 32


def unlaid(film):
    """The frames of a film's sheet, uint8 [n, H, W, 3]."""
    sheet, (height, width), columns = pixels(film.sheet), film.size, film.columns
    rows = sheet.shape[0] // height
    tiles = sheet.reshape(rows, height, columns, width, 3).swapaxes(1, 2).reshape(-1, height, width, 3)
    return tiles[: len(film.frames)]


def difference(one, other):
    return np.abs(one.astype(float) - other.astype(float)).mean()


def pattern(*shape, seed=0):
    """Coarse grey noise, uint8 [..., SIZE, SIZE, 3]: frames that differ from each other."""
    blocks = np.random.default_rng(seed).integers(0, 256, (*shape, SIZE // 8, SIZE // 8, 1), dtype=np.uint8)
    return blocks.repeat(8, axis=-3).repeat(8, axis=-2).repeat(3, axis=-1)


def batch_of(*lengths):
    """What a film needs of a batch of videos that state neither rate."""
    unknown = torch.full((len(lengths),), torch.nan)
    return SimpleNamespace(length=torch.tensor(lengths), fps=unknown, heart_rate=unknown)


@pytest.mark.parametrize("test", [(1, 1), (2, 1), (2, 3)], ids=["1 clip", "2 clips", "2 clips x 3 crops"])
@pytest.mark.parametrize("resize", ["worker", "device"])
def test_the_frames_shown_are_those_that_the_model_saw(tiny_runs, tiny_folder, test, resize, monkeypatch):
    """What goes into the image tower is caught there, and held against what the page shows."""
    changes = [("TEST.NUM_CLIP", test[0]), ("TEST.NUM_CROP", test[1]), ("DATA.RESIZE", resize), ("DATA.NUM_WORKERS", 0)]
    predictor = load_predictor(tiny_runs["quality"] / "last.pth", changes=changes)
    seen, model = [], predictor.model
    forward = model.forward
    monkeypatch.setattr(model, "forward", lambda clips, *rest: (seen.append(clips.clone()), forward(clips, *rest))[1])
    maker = FilmMaker(crops=test[1])
    files = [str(tiny_folder / "videos" / f"clip {number}.avi") for number in range(3)]
    table = EchoModel(predictor).predict_files(files, watch=maker)
    films = maker.films()

    assert sorted(films) == [0, 1, 2]
    views, size = test[0] * test[1], predictor.config.TRAIN.BATCH_SIZE
    clips = torch.cat(seen).unflatten(0, (-1, views))  # normalised [B, V, T, 3, S, S]; batches filled up
    mean, std = (
        torch.tensor(values).view(3, 1, 1)
        for values in ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
    )
    given = ((clips * std + mean) * 255).round().clamp(0, 255).byte().permute(0, 1, 2, 4, 5, 3).numpy()
    for place, film in films.items():
        video = given[place // size * size + place % size][test[1] // 2 :: test[1]].reshape(-1, SIZE, SIZE, 3)
        assert film.timing == Timing(6, 30.0, None)
        assert len(film.frames) == len(video) and list(film.frames) == sorted(film.frames)
        order = np.argsort(np.argsort(film.frames)) if test[0] == 1 else [0, 2, 1, 3]  # two clips of two, interleaved
        shown = unlaid(film)
        for k, own in enumerate(order):
            differences = [difference(shown[k], other) for other in video]
            assert np.argmin(differences) == own and differences[own] < 6
        assert film.frames[film.peak] == table[place].frame
        assert difference(pixels(film.poster), video[order[film.peak]]) < 6
        assert sum(film.weights) == pytest.approx(1, abs=1e-5)


def test_frames_that_were_seen_twice_are_shown_once_with_the_attention_of_both():
    clips = pattern(1, 5)
    clips[0, 3] = clips[0, 2]
    film = make_film(
        clips, np.array([0, 2, 3, 3, 5]), np.array([0.1, 0.2, 0.25, 0.25, 0.2], np.float32), 1, Timing(6, 25, None)
    )
    assert film.frames == (0, 2, 3, 5) and film.peak == 2
    assert film.weights == pytest.approx([0.1, 0.2, 0.5, 0.2])
    assert film.columns == 2
    for shown, given in zip(unlaid(film), clips[0, [0, 1, 2, 4]], strict=True):
        assert difference(shown, given) < 6


def test_a_clip_that_goes_round_is_shown_in_the_order_of_the_video():
    clips = pattern(1, 3)
    film = make_film(clips, np.array([4, 5, 0]), np.array([0.5, 0.3, 0.2], np.float32), 1, Timing(6, 25, None))
    assert film.frames == (0, 4, 5) and film.peak == 1
    assert difference(unlaid(film)[0], clips[0, 2]) < 6


def test_the_sheet_has_the_frames_row_by_row():
    frames = pattern(5)
    sheet = lay_out(frames, 3)
    assert sheet.shape == (2 * SIZE, 3 * SIZE, 3)
    assert (sheet[SIZE:, SIZE : 2 * SIZE] == frames[4]).all() and not sheet[SIZE:, 2 * SIZE :].any()


def test_videos_without_an_answer_have_no_film():
    """One that could not be read, one whose answer is not finite."""
    attention = torch.tensor([[0.5, 0.5], [torch.nan, torch.nan], [0.25, 0.75]]).numpy()
    positive = ViewAnswers(None, attention, None, np.zeros((3, 2), np.float32), None)
    failed = np.array([True, False, False])
    answers = Answers(np.array([4, 5, 6]), failed, np.array([[-1, -1], [0, 1], [0, 1]]), positive, None, None, None)
    maker = FilmMaker(crops=1)
    maker(batch_of(0, 2, 2), torch.zeros(3, 1, 2, 3, SIZE, SIZE, dtype=torch.uint8), answers)
    assert list(maker.films()) == [6]
    assert maker.films()[6].timing == Timing(2, None, None)


def test_a_model_that_only_grades_shows_where_the_quality_branch_looked():
    """As the column `frame` does."""
    views = ViewAnswers(None, np.array([[0.9, 0.1]], np.float32), None, None, None)
    quality = QualityAnswers(np.array([[0.2, 0.8]], np.float32), *[np.zeros((1, 3), np.float32)] * 3)
    answers = Answers(np.array([0]), np.array([False]), np.array([[0, 1]]), views, None, quality, None)
    maker = FilmMaker(crops=1)
    maker(batch_of(2), torch.zeros(1, 1, 2, 3, SIZE, SIZE, dtype=torch.uint8), answers)
    assert maker.films()[0].weights == pytest.approx([0.2, 0.8]) and maker.films()[0].peak == 1


def test_a_still_image_is_a_film_of_one_frame():
    weights = np.full(4, 0.25, np.float32)
    film = make_film(pattern(1, 1).repeat(4, 1), np.zeros(4, np.int64), weights, 1, Timing(1, None, None))
    assert (film.frames, film.weights, film.peak, film.columns) == ((0,), (1.0,), 0, 1)


@pytest.mark.parametrize(
    ("timing", "seconds", "beats"),
    [
        (Timing(60, 30.0, 90.0), 2.0, 3.0),
        (Timing(60, 30.0, None), 2.0, None),
        (Timing(60, None, 90.0), None, None),
        (Timing(1, 30.0, 90.0), None, None),
    ],
)
def test_a_video_is_as_long_as_its_frames_and_its_heart_rate_say(timing, seconds, beats):
    assert (timing.seconds, timing.beats) == (seconds, beats)
