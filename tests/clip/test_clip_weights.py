"""Pretrained weights in every format they come in, key by key, and what to do where they cannot be had."""

from __future__ import annotations

import copy
import logging

import open_clip
import pytest
import torch
from open_clip.model import build_model_from_openai_state_dict
from safetensors.torch import save_file

from echoviewclip.clip import weights
from echoviewclip.clip.architectures import REGISTRY_NAME, TINY, build_towers
from echoviewclip.clip.weights import load_towers
from echoviewclip.utils.errors import UserError

SMALL = {  # a ViT-B/32 made small
    "embed_dim": 16,
    "vision_cfg": {"image_size": 64, "layers": 2, "width": 64, "patch_size": 32},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 2},
}


@pytest.fixture
def small(monkeypatch):
    """ViT-B/32 as small as SMALL says; yields weights of it in half precision, as OpenAI gives them away."""
    monkeypatch.setattr(open_clip, "get_model_config", lambda _: copy.deepcopy(SMALL))
    torch.manual_seed(0)
    towers = build_towers("ViT-B/32", 64, quick_gelu=True).eval()
    for parameter in towers.parameters():
        parameter.data = torch.randn_like(parameter).mul(0.05).half().float()
    return towers


def half_state(towers: open_clip.CLIP) -> dict[str, torch.Tensor]:
    return {name: value.half() for name, value in towers.state_dict().items()}


def archive(towers, file):
    """TorchScript, with the three numbers that OpenAI's archives carry as buffers."""
    for name, number in (("input_resolution", 64), ("context_length", 77), ("vocab_size", 49408)):
        vars(towers).pop(name, None)
        towers.register_buffer(name, torch.tensor(number))
    traced = torch.jit.trace(towers, (torch.zeros(1, 3, 64, 64), torch.zeros(1, 77, dtype=torch.int64)))
    traced.half().save(str(file))


def numbers_beside(towers, file):
    numbers = {"input_resolution": 64, "context_length": 77, "vocab_size": 49408}
    torch.save(half_state(towers) | {name: torch.tensor(number) for name, number in numbers.items()}, file)


def wrapped(towers, file):
    state = {f"module.{name}": value for name, value in towers.state_dict().items()}
    torch.save({"state_dict": state, "epoch": 3}, file)


@pytest.mark.filterwarnings("ignore")  # torch.jit is on its way out; OpenAI's archives are not
@pytest.mark.parametrize(
    ("save", "name"),
    [
        (archive, "jit.pt"),
        (numbers_beside, "state.pt"),
        (lambda towers, file: torch.save(half_state(towers), file), "bare.bin"),
        (wrapped, "training.pth"),
        (lambda towers, file: save_file(half_state(towers), file), "model.safetensors"),
    ],
    ids=["torchscript", "state dict with numbers", "state dict", "under state_dict", "safetensors"],
)
def test_weights_arrive_key_by_key(small, tmp_path, save, name):
    expected = {key: value.clone() for key, value in small.state_dict().items()}
    save(small, tmp_path / name)
    loaded = load_towers("ViT-B/32", str(tmp_path / name), 64).state_dict()
    assert set(loaded) == set(expected)
    for key, value in expected.items():
        assert loaded[key].dtype == torch.float32
        assert torch.equal(loaded[key], value), key


def test_the_towers_answer_as_open_clip_s_reading_of_openai_s_weights(small, tmp_path):
    torch.save(half_state(small), tmp_path / "openai.pt")
    ours = load_towers("ViT-B/32", str(tmp_path / "openai.pt"), 64).eval()
    theirs = build_model_from_openai_state_dict(half_state(small), cast_dtype=torch.float32).eval().float()
    images, texts = torch.randn(2, 3, 64, 64), open_clip.tokenize(["a view", "another one"])
    with torch.no_grad():
        torch.testing.assert_close(ours.encode_image(images), theirs.encode_image(images), rtol=0, atol=1e-6)
        torch.testing.assert_close(ours.encode_text(texts), theirs.encode_text(texts), rtol=0, atol=1e-6)


def test_position_embeddings_in_half_precision_are_resized_to_other_images(small, tmp_path):
    torch.save(half_state(small), tmp_path / "openai.pt")
    larger = load_towers("ViT-B/32", str(tmp_path / "openai.pt"), 128).state_dict()
    before, after = small.state_dict()["visual.positional_embedding"], larger["visual.positional_embedding"]
    assert after.shape == (1 + 4 * 4, 64)
    assert torch.equal(after[0], before[0])  # the class token's
    assert after[1:].mean() == pytest.approx(float(before[1:].mean()), abs=1e-3)


def test_without_weights_there_is_a_loud_warning(caplog):
    with caplog.at_level(logging.WARNING):
        load_towers("tiny", "", 32)
    assert [record.getMessage() for record in caplog.records] == [
        "MODEL.PRETRAINED is empty: tiny STARTS FROM RANDOM WEIGHTS and has to learn everything from your videos; "
        "set it to openai, an open_clip tag, hf-hub:NAME or a file"
    ]


def test_weights_that_a_checkpoint_overwrites_are_not_warned_of(caplog):
    load_towers("tiny", None, 32)
    assert not caplog.records


def refusal(arch: str, pretrained: object, size: int = 64) -> str:
    with pytest.raises(UserError) as caught:
        load_towers(arch, str(pretrained), size)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def no_network(*_, **__):
    raise ConnectionError("the name cannot be resolved")


def test_without_a_network_the_message_says_how_to_fetch_the_file(small, monkeypatch):
    monkeypatch.setattr(weights, "download_pretrained", no_network)
    url = open_clip.get_pretrained_url("ViT-B-32", "openai")
    assert url.endswith("ViT-B-32.pt")
    assert refusal("ViT-B/32", "openai") == (
        "MODEL.PRETRAINED openai: the weights could not be downloaded (ConnectionError). "
        f"Fetch {url} on a machine with a network, copy the file here, and give its path: --pretrained /path/to/file"
    )


def test_without_a_network_the_hub_s_name_is_what_to_fetch(small, monkeypatch):
    monkeypatch.setattr(weights, "download_pretrained_from_hf", no_network)
    assert refusal("ViT-B/32", "hf-hub:someone/CLIP") == (
        "MODEL.PRETRAINED hf-hub:someone/CLIP: the weights could not be downloaded (ConnectionError). Fetch "
        "hf-hub:someone/CLIP on a machine with a network, copy the file here, and give its path: "
        "--pretrained /path/to/file"
    )


def test_a_name_that_is_neither_tag_nor_file_lists_the_tags(small):
    message = refusal("ViT-B/32", "opnai")
    assert message.startswith("MODEL.PRETRAINED opnai: no such file; it must be a tag of ViT-B/32 (openai, laion400m")
    assert message.endswith("hf-hub:NAME or an existing file")
    assert refusal("tiny", "openai") == (
        "MODEL.PRETRAINED openai: no such file; it must be hf-hub:NAME or an existing file"
    )


def test_weights_of_another_architecture_are_refused(small, tmp_path, monkeypatch):
    torch.save(half_state(small), tmp_path / "w.pt")
    vision = SMALL["vision_cfg"]
    monkeypatch.setattr(open_clip, "get_model_config", lambda _: SMALL | {"vision_cfg": vision | {"width": 128}})
    assert refusal("ViT-B/16", tmp_path / "w.pt") == (
        f"{tmp_path}/w.pt: visual.class_embedding has the shape [64], ViT-B/16 needs [128]; check MODEL.ARCH"
    )
    monkeypatch.setattr(open_clip, "get_model_config", lambda _: SMALL | {"vision_cfg": vision | {"layers": 3}})
    assert refusal("ViT-B/16", tmp_path / "w.pt") == (
        f"{tmp_path}/w.pt: not weights of ViT-B/16: 12 names missing (first: "
        "visual.transformer.resblocks.2.attn.in_proj_bias, visual.transformer.resblocks.2.attn.in_proj_weight, "
        "visual.transformer.resblocks.2.attn.out_proj.bias), 0 unknown (first: none); check MODEL.ARCH"
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a file of "),
        (b"<html>404</html>", "not a file of "),
        ([1, 2], "expected a state dict (names and tensors), found something else"),
        ({"epoch": 3}, "expected a state dict (names and tensors), found something else"),
        ({"w": logging.getLogger}, "not a file of plain weights (UnpicklingError)"),
    ],
)
@pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
def test_other_files_are_refused_and_nothing_in_them_runs(small, tmp_path, content, message, name):
    file = tmp_path / name
    file.write_bytes(content) if isinstance(content, bytes) else torch.save(content, file)
    expected = message if name == "w.pt" else "not a file of weights: "
    assert refusal("ViT-B/32", file).startswith(f"{file}: {expected}")


def test_the_four_published_towers_have_openai_s_sizes():
    sizes = {}
    for arch in REGISTRY_NAME:
        with torch.device("meta"):
            towers = build_towers(arch, 336 if "336" in arch else 224, quick_gelu=True)
        visual = towers.visual
        sizes[arch] = (visual.transformer.width, visual.transformer.layers, *visual.proj.shape[1:], visual.grid_size[0])
    assert sizes == {
        "ViT-B/32": (768, 12, 512, 7),
        "ViT-B/16": (768, 12, 512, 14),
        "ViT-L/14": (1024, 24, 768, 16),
        "ViT-L/14@336px": (1024, 24, 768, 24),
    }


def test_the_tiny_tower_stays_tiny():
    towers = build_towers("tiny", TINY["vision_cfg"]["image_size"], quick_gelu=True)
    trained = sum(p.numel() for name, p in towers.named_parameters() if not name.startswith("token_embedding"))
    assert trained < 4e6


def test_an_unknown_tower_and_a_size_that_patches_do_not_divide_are_refused():
    assert refusal("ViT-B/15", "") == (
        "MODEL.ARCH: unknown architecture 'ViT-B/15'; "
        "known: tiny, ViT-tiny/16, ViT-B/32, ViT-B/16, ViT-L/14, ViT-L/14@336px"
    )
    assert refusal("tiny", "", 102) == "DATA.INPUT_SIZE 102 is not a multiple of 4, the patch size of tiny"
