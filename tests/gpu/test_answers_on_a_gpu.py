"""Answers on a GPU: recordings, batches on their way and crops give what is given without them."""

from __future__ import annotations

import pytest
import torch

from echoviewclip.datasets.ahead import sent_ahead
from echoviewclip.datasets.cropping import EvalCrop, crop_resize_batch
from echoviewclip.inference.precision import Precision
from echoviewclip.inference.replayed import Replayed
from tests.tiny_data import assert_same, entries, tiny_model


@pytest.mark.parametrize("level", ["O0", "O1", "O2"])
@pytest.mark.parametrize("variant", ["paper", "released"])
def test_a_recording_answers_as_the_model_does(cuda, level, variant):
    _, model = tiny_model("negation", MODEL__VARIANT=variant)
    model = model.to(cuda).eval()
    precision = Precision(level, model, cuda, trains=False)

    @torch.no_grad()
    def encode(clips):
        with precision.autocast():
            return model(clips, model.parts)

    replayed = Replayed(encode)
    clips = torch.randn(6, 3, 2, 3, 32, 32, device=cuda)
    kept = [replayed(batch) for batch in clips]
    assert replayed._graph is not None
    for batch, output in zip(clips, kept, strict=True):
        assert_same(entries(output), entries(encode(batch)))
    shorter = clips[0][:2]
    assert_same(entries(replayed(shorter)), entries(encode(shorter)))


def test_a_recording_reads_weights_where_they_are(cuda):
    layer = torch.nn.Linear(4, 4).to(cuda)
    replayed = Replayed(torch.no_grad()(lambda x: (layer(x),)))
    given = torch.randn(2, 4, device=cuda)
    for _ in range(4):
        replayed(given)
    with torch.no_grad():
        layer.weight.zero_()
    torch.testing.assert_close(replayed(given)[0], layer.bias.expand(2, 4).detach())


def test_batches_arrive_whole_and_in_order_while_the_device_works(cuda):
    """Memory that is given back is taken again by batches that are under way."""
    batches = [torch.full((1 << 22,), number, dtype=torch.int64).pin_memory() for number in range(12)]
    heavy = torch.randn(4096, 4096, device=cuda)
    sums = []
    for batch in sent_ahead(iter(batches), lambda item: item.to(cuda, non_blocking=True), cuda):
        for _ in range(8):
            heavy = (heavy @ heavy).clamp(-1, 1)
        sums.append(batch.double().mean())
    assert torch.stack(sums).tolist() == list(range(12))


@pytest.mark.parametrize("level", ["O0", "O1"])
def test_crops_on_a_gpu_are_those_of_a_processor_to_the_byte(cuda, level):
    Precision(level, torch.nn.Linear(1, 1), cuda)
    video = torch.randint(256, (2, 3, 3, 90, 120), dtype=torch.uint8)
    boxes = torch.tensor([EvalCrop(56, 3).boxes(90, 120, None)] * 2)
    assert torch.equal(crop_resize_batch(video.to(cuda), boxes.to(cuda), 56).cpu(), crop_resize_batch(video, boxes, 56))
