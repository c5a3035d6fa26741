"""TorchScript archives give their tensors, and nothing in them runs."""

from __future__ import annotations

import pickle
import zipfile

import pytest
import torch
from torch import nn

from echoviewclip.clip.torchscript import read_torchscript
from echoviewclip.clip.weights import read_state_dict
from echoviewclip.utils.errors import UserError

pytestmark = pytest.mark.filterwarnings("ignore")  # torch.jit is on its way out; OpenAI's archives are not


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.rest = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
        self.tied = self.first.weight
        self.register_buffer("window", torch.arange(8.0).reshape(2, 4).t()[:, 1])  # strides and an offset
        self.register_buffer("nothing", torch.empty(0))
        self.mask = torch.ones(2)  # neither a parameter nor a buffer
        self.times = 2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.rest(self.first(x)) * self.times + self.window + self.mask.sum()


class Hostile(nn.Module):
    """Its `__setstate__` writes a file, called `written`, into the current folder."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.arange(3.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.weight

    @torch.jit.export
    def __getstate__(self) -> tuple[torch.Tensor, bool]:
        return self.weight, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[torch.Tensor, bool]) -> None:
        self.weight = state[0]
        self.training = state[1]
        torch.save(state[0], "written")


def script(module: nn.Module) -> torch.jit.ScriptModule:
    return torch.jit.script(module)


def trace(module: nn.Module) -> torch.jit.ScriptModule:
    return torch.jit.trace(module, torch.zeros(2, 3))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
@pytest.mark.parametrize("made", [script, trace])
def test_the_tensors_of_an_archive_are_those_of_torch_s_own_loader(tmp_path, made, dtype):
    torch.manual_seed(0)
    made(Small().eval()).to(dtype).save(str(tmp_path / "w.pt"))
    expected = torch.jit.load(tmp_path / "w.pt").state_dict()
    state = read_state_dict(tmp_path / "w.pt")
    assert set(state) == set(expected)
    for name, value in expected.items():
        assert state[name].dtype == value.dtype, name
        assert torch.equal(state[name], value), name


def test_no_code_of_an_archive_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.jit.script(Hostile()).save("hostile.pt")
    torch.jit.load("hostile.pt")
    assert (tmp_path / "written").exists()  # the archive is a hostile one
    (tmp_path / "written").unlink()
    with pytest.raises(UserError, match="expected a state dict"):
        read_state_dict(tmp_path / "hostile.pt")
    assert not (tmp_path / "written").exists()


class Touch:
    def __init__(self, file: str) -> None:
        self.file = file

    def __reduce__(self):
        return open, (self.file, "w")


def archive(file, root: bytes, compression: int = zipfile.ZIP_STORED, data: bytes = bytes(8)) -> None:
    with zipfile.ZipFile(file, "w", compression) as content:
        content.writestr("w/data.pkl", root)
        content.writestr("w/data/0", data)
        content.writestr("w/code/__torch__.py", 'class M(Module):\n  __parameters__ = []\n  __buffers__ = ["w", ]\n')
        content.writestr("w/constants.pkl", b"")


def module_of(attributes: bytes) -> bytes:
    """The pickle of a module whose attributes are one `name: value` pair, given as opcodes."""
    return b"\x80\x02c__torch__\nM\n)\x81}(" + attributes + b"ub."


def tensor_of(size: int, stride: int, offset: int = 0) -> bytes:
    storage = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x02tQ"
    numbers = b"".join(b"J" + number.to_bytes(4, "little", signed=True) for number in (offset, size, stride))
    offset_, size_, stride_ = numbers[:5], numbers[5:10], numbers[10:]
    return (
        b"X\x01\x00\x00\x00wctorch._utils\n_rebuild_tensor_v2\n("
        + storage
        + offset_
        + size_
        + b"\x85"
        + stride_
        + b"\x85\x89Nt"
        + b"R"
    )


def test_a_python_pickle_in_an_archive_does_not_run(tmp_path):
    archive(tmp_path / "w.pt", pickle.dumps(Touch(str(tmp_path / "written")), protocol=2))
    with pytest.raises(UserError):
        read_state_dict(tmp_path / "w.pt")
    assert not (tmp_path / "written").exists()


def test_a_hand_made_archive_is_read(tmp_path):
    archive(tmp_path / "w.pt", module_of(tensor_of(2, 1)))
    assert torch.equal(read_torchscript(tmp_path / "w.pt")["w"], torch.zeros(2))


@pytest.mark.parametrize(
    "attributes",
    [
        tensor_of(3, 1),
        tensor_of(2**30, 0),
        tensor_of(2, 1, offset=1),
        tensor_of(2, -1),
        tensor_of(-1, 1),
        tensor_of(1, 1, offset=-1),
        b"X\x01\x00\x00\x00ac__torch__\nM\n)\x81q\x00}(X\x01\x00\x00\x00ah\x00X\x01\x00\x00\x00bh\x00ub",
    ],
    ids=["too long", "endless", "offset", "stride", "negative", "before", "modules within themselves"],
)
def test_an_impossible_archive_is_refused(tmp_path, attributes):
    archive(tmp_path / "w.pt", module_of(attributes))
    with pytest.raises(UserError, match="not a file of"):
        read_state_dict(tmp_path / "w.pt")


def test_a_compressed_or_damaged_archive_is_refused(tmp_path):
    archive(tmp_path / "bomb.pt", module_of(tensor_of(2, 1)), zipfile.ZIP_DEFLATED)
    archive(tmp_path / "w.pt", module_of(tensor_of(2, 1)), data=b"ABCDEFGH")
    (tmp_path / "flipped.pt").write_bytes((tmp_path / "w.pt").read_bytes().replace(b"ABCDEFGH", b"ABCDEFGI"))
    assert "w" in read_state_dict(tmp_path / "w.pt")
    for name in ("bomb.pt", "flipped.pt"):
        with pytest.raises(UserError, match="not a file of"):
            read_state_dict(tmp_path / name)
