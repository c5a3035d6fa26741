"""The published configuration files mean what they say, unchanged; a stage follows from what they set."""

from __future__ import annotations

import pytest

from echoviewclip.utils.config import load_config
from echoviewclip.utils.label_list import read_names
from tests.published import PUBLISHED_QUALITY, PUBLISHED_STAGE1, PUBLISHED_STAGE2


@pytest.mark.parametrize(
    ("use", "stage"),
    [("both", "view"), ("image", "view"), ("text", "view"), ("no_text", "negation"), ("quality", "quality")],
)
def test_the_stage_follows_from_use_where_it_is_not_given(written, use, stage):
    config = load_config(written(f"TRAINER: {{ViFi_CLIP: {{USE: {use}}}}}"))
    assert stage == config.STAGE


def test_the_published_view_file_means_what_it_says(written):
    config = load_config(written(PUBLISHED_STAGE1))
    assert (config.STAGE, config.TRAIN.LR, config.TRAIN.ACCUMULATION_STEPS) == ("view", 2.2e-5, 16)
    assert config.DATA.TRAIN_FILE == "datasets_splits/ultracls/train.txt"
    assert len(read_names(config.DATA.LABEL_LIST, config.DATA.NUM_CLASSES, "DATA.NUM_CLASSES")) == 38


def test_the_published_negation_file_means_what_it_says(written):
    config = load_config(written(PUBLISHED_STAGE2))
    assert (config.STAGE, config.TRAIN.EPOCHS) == ("negation", 30)
    assert config.MODEL.RESUME == "output/train_stage1/ckpt_epoch_29.pth"


def test_the_published_quality_file_is_translated_with_a_warning(written):
    with pytest.warns(UserWarning) as warned:
        config = load_config(written(PUBLISHED_QUALITY))
    assert [str(warning.message) for warning in warned] == [
        "DATA: the published quality file calls the grades NUM_CLASSES and LABEL_LIST and the views NUM_QUALITIES; "
        "read as NUM_QUALITIES 3, QUALITY_LIST labels/quality.csv, NUM_CLASSES 38, LABEL_LIST labels/ultracls.csv"
    ]
    data = config.DATA
    assert (config.STAGE, data.NUM_QUALITIES, data.NUM_CLASSES, config.TRAIN.LR) == ("quality", 3, 38, 1e-5)
    assert read_names(data.QUALITY_LIST, data.NUM_QUALITIES, "DATA.NUM_QUALITIES") == ["very bad", "not good", "good"]
    assert len(read_names(data.LABEL_LIST, data.NUM_CLASSES, "DATA.NUM_CLASSES")) == 38
