"""Which pixels of a clip are black in every frame: known in main memory, whatever is done to the clip afterwards."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from echoviewclip.datasets.configured import training_data
from echoviewclip.datasets.outliers import KINDS
from echoviewclip.datasets.sample import collate
from echoviewclip.datasets.transforms import DeviceTransform, lit_pixels
from echoviewclip.trainers.data import read_list
from echoviewclip.trainers.inputs import PixelInputs
from echoviewclip.trainers.stages import build_stage
from tests.datasets.small_list import dataset
from tests.tiny_data import tiny

SIZE, VIDEOS = 64, 8


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Coloured noise in a part of the picture of its own, black around it."""
    folder = tmp_path_factory.mktemp("black")
    (folder / "videos").mkdir()
    random = np.random.default_rng(0)
    for number in range(VIDEOS):
        video = np.zeros((6, SIZE, SIZE, 3), np.uint8)
        top, left, height, width = random.integers((0, 0, 20, 20), (30, 30, 34, 34))
        video[:, top : top + height, left : left + width] = random.integers(60, 255, (6, height, width, 3))
        video[::2, top, left] = 0  # not in all frames
        np.save(folder / f"videos/{number}.npy", video)
    for name in ("train.txt", "list.txt"):
        where = "videos/" * (name == "list.txt")
        (folder / name).write_text("".join(f"{where}{number}.npy {number % 3}\n" for number in range(VIDEOS)))
    (folder / "labels.csv").write_text("id,name\n" + "".join(f"{n},view {n}\n" for n in range(4)))
    return folder


@pytest.mark.parametrize("options", [{"train": True}, {"train": False, "clips": 2, "crops": 3}])
def test_a_sample_says_where_its_clips_are_lit(folder, options):
    for number in range(VIDEOS):
        sample = dataset(folder, size=SIZE, finds_black=True, **options)[number]
        assert torch.equal(sample.lit, (sample.video > 0).any(dim=1).any(dim=1))
        assert sample.lit.any() and not sample.lit.all()
        assert sample.lit.shape == (6 if "clips" in options else 1, SIZE, SIZE)
        assert dataset(folder, size=SIZE, **options)[number].lit is None


def test_a_batch_has_those_of_its_samples(folder):
    samples = [dataset(folder, size=SIZE, finds_black=True)[number] for number in (0, 3)]
    assert torch.equal(collate(samples).lit, torch.stack([sample.lit for sample in samples]))


def test_a_pixel_is_lit_where_one_frame_and_one_colour_is():
    video = torch.zeros(4, 3, 5, 5, dtype=torch.uint8)
    video[2, 1, 3, 4] = 1
    assert lit_pixels(video).nonzero().tolist() == [[3, 4]]


def test_they_follow_the_flips_and_nothing_else_of_an_augmentation(folder):
    samples = [dataset(folder, size=SIZE, finds_black=True)[number] for number in range(VIDEOS)]
    video, lit = torch.cat([s.video for s in samples]), torch.cat([s.lit for s in samples])
    seeds = torch.arange(VIDEOS)
    transform = DeviceTransform(train=True, flip=0.5, color_jitter=1.0, gray_scale=0.5, erasing=0.5)
    flips = DeviceTransform(train=True, flip=0.5)
    black = DeviceTransform(train=False)(torch.zeros(1, 1, 3, 1, 1, dtype=torch.uint8))
    moved = flips.move(lit, seeds)
    assert torch.equal(moved, (flips(video, seeds) != black).any(dim=1).any(dim=1))
    assert torch.equal(moved, transform.move(lit, seeds)) and not torch.equal(moved, lit)
    assert torch.equal(DeviceTransform(train=False, flip=1.0).move(lit, seeds), lit)


@pytest.mark.parametrize(
    "changes",
    [
        {"AUG__OUTLIERS": [kind]} for kind in KINDS
    ] + [{"AUG__OUTLIERS": list(KINDS), "AUG__MIXUP": 0.8}, {"AUG__OUTLIERS": list(KINDS), "AUG__CUTMIX": 1.0}],
    ids=str,
)  # fmt: skip
def test_blending_and_outliers_are_lit_where_their_pixels_are(folder, tmp_path, changes):
    options = {"MODEL__ARCH": "ViT-tiny/16", "MODEL__DROP_BLACK": True, "DATA__INPUT_SIZE": SIZE, "AUG__FLIP": 0.5}
    options |= {"AUG__COLOR_JITTER": 0.0, "AUG__GRAY_SCALE": 0.0, "TRAIN__BATCH_SIZE": 6}
    config = tiny(folder, tmp_path, "negation", **options, **changes)
    data = training_data(config, read_list(config, config.DATA.TRAIN_FILE, "DATA.TRAIN_FILE"))
    inputs = PixelInputs(config, build_stage(config), data, torch.device("cpu"))
    black = DeviceTransform(train=False)(torch.zeros(1, 1, 3, 1, 1, dtype=torch.uint8))
    for epoch in range(6):
        for batch in inputs.epoch(epoch):
            assert len(batch.lit) == len(batch.seen) > len(batch.place)
            shown = ((batch.seen - black).abs() > 1e-5).flatten(1, 2).any(dim=1)
            assert np.array_equal(batch.lit, shown.numpy())
