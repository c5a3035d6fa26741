"""Yaml files that someone damaged or made up end in one line and code 2, in no time and without gigabytes."""

from __future__ import annotations

import random
import resource
import sys
import time
from pathlib import Path

import pytest

from echoviewclip import main as command
from echoviewclip.utils.config import config_from_text, default_config, load_config
from echoviewclip.utils.errors import UserError, exit_code
from echoviewclip.utils.yaml_text import read_yaml

LONG = "x" * 100_000
BOMB = "a: &a [lol, lol]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGES = "a: &a {x: 1}\n" + "".join(
    f"{b}: &{b} {{<<: [{', '.join([f'*{a}'] * 9)}]}}\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)

TEXTS = {
    "aliases of aliases": (BOMB, "an alias (*) of keys or of nested lists"),
    "merges of merges": (MERGES, "an alias (*) of keys or of nested lists"),
    "a list that holds itself": ("SEED: &a [*a]", "found"),
    "nested lists": ("SEED: " + "[" * 200_000, "nested too deeply"),
    "nested keys": ("".join(f"{' ' * k}a:\n" for k in range(50)), "unknown key a"),
    "nested flow keys": ("{a: " * 200_000, "nested too deeply"),
    "a number of 5001 digits": ("SEED: " + "9" * 5001, "a value that cannot be read (ValueError)"),
    "a number of 40000 hexadecimal digits": (
        "SEED: 0x" + "f" * 40_000,
        "SEED must be a whole number, found a number of",
    ),
    "a key of thousands of digits": ("? 0x" + "f" * 40_000 + "\n: 1", "unknown key a number of thousands of digits"),
    "a number above all": ("DATA: {NUM_FRAMES: 1e300}", "DATA.NUM_FRAMES must be a whole number, found"),
    "a number that is infinite": ("TRAIN: {LR: .inf}", "TRAIN.LR must be a number, found inf"),
    "a date that is none": ("SEED: 2020-99-99", "a value that cannot be read (ValueError)"),
    "a date": ("SEED: 2020-01-01", "SEED must be a whole number, found datetime.date(2020, 1, 1)"),
    "a tag without its value": ("SEED: !!int ''", "a value that cannot be read"),
    "a tag of another form": ("SEED: !!timestamp x", "a value that cannot be read"),
    "a tag of Python": ("SEED: !!python/object/apply:os.system ['true']", "could not determine a constructor"),
    "a set": ("SEED: !!set {1, 2}", "SEED must be a whole number, found {1, 2}"),
    "bytes": ("OUTPUT: !!binary aGVsbG8=", "OUTPUT must be text, found b'hello'"),
    "a key that is a list": ("? [1, 2]\n: 3", "not valid yaml"),
    "a key that is nothing": ("~: 3", "unknown key None"),
    "a key of 100 kB": (f"{'a' * 900}: 1\n{LONG[:1000]}: 2", "unknown key aaa"),
    "text of 100 kB": (f"SEED: {LONG}", "SEED must be a whole number, found 'xxx"),
    "a zero byte": ('OUTPUT: "a\\0b"', "OUTPUT must be text, found 'a\\x00b'"),
    "half of a character": ('OUTPUT: "a\\ud800b"', "OUTPUT must be text, found"),
    "a control character": ("OUTPUT: a\x01b", "not valid yaml"),
    "a key that moves the cursor": ('"\\e[31mSEED": 1', r"unknown key \x1b[31mSEED"),
    "a list for a number": ("SEED: [1, 2]", "SEED must be a whole number, found [1, 2]"),
    "keys for a number": ("SEED: {a: {b: {c: 1}}}", "SEED must be a whole number, found {'a': {'b': {...}}}"),
    "a number for a group": ("DATA: 3", "DATA is a group of keys"),
    "a list": ("- SEED\n- 3", "expected keys and values, found list"),
    "several documents": ("SEED: 1\n---\nSEED: 2", "expected a single document"),
    "more than a megabyte": ("# " + LONG * 11 + "\nSEED: 1", "more than 1 MB"),
    "a label list of a name that no system has": (f"DATA: {{LABEL_LIST: {LONG[:90_000]}}}", "no such label list"),
    "a file of its own as BASE": ("BASE: c.yaml", "BASE includes the file itself"),
    "keys as BASE": ("BASE: {a: 1}", "BASE must be a list"),
    "a device as BASE": ("BASE: /dev/zero", "no such configuration file"),
}


@pytest.fixture(autouse=True)
def little_memory():
    """The process may take 4 GB more than it has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (4 << 30), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.parametrize("what", TEXTS)
def test_a_hostile_configuration_is_refused_in_one_line(tmp_path, monkeypatch, capsys, what):
    text, expected = TEXTS[what]
    (tmp_path / "c.yaml").write_text(text)
    monkeypatch.setattr(sys, "argv", ["main.py", "-cfg", str(tmp_path / "c.yaml")])
    begun = time.process_time()
    assert exit_code(command.main) == 2
    assert time.process_time() - begun < 10
    said = capsys.readouterr().err
    assert said.startswith("error: ") and said.count("\n") == 1 and said[:-1].isprintable()
    assert expected in said and len(said) < 1200


@pytest.mark.parametrize(
    "value", ["[" * 100_000, "9" * 5001, "0x" + "f" * 5001, "&a [*a]", "{a: 1", "2020-99-99", "\x01"]
)
def test_a_hostile_value_on_the_command_line_is_refused_in_one_line(tmp_path, value):
    (tmp_path / "c.yaml").touch()
    with pytest.raises(
        UserError, match=r"^command line: (cannot read the value|SEED must be a whole number, found) "
    ) as caught:
        load_config(tmp_path / "c.yaml", [("STAGE", "view"), ("SEED", value)])
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


def test_what_a_checkpoint_carries_is_checked_as_well():
    for text in (BOMB, "[1, 2]", "{a: " * 200_000, "SEED: 0x" + "f" * 40_000):
        with pytest.raises(UserError, match=r"^the checkpoint's configuration: "):
            config_from_text(text)


def test_files_that_include_many_files_come_to_an_end(tmp_path):
    for number in range(80):
        (tmp_path / f"{number}.yaml").write_text(f"BASE: [{number + 1}.yaml, {number + 1}.yaml]\nSEED: {number}\n")
    (tmp_path / "80.yaml").write_text("STAGE: view\n")
    for first in (0, 50):
        with pytest.raises(UserError, match=rf"{first}.yaml: BASE leads to more than 64 files"):
            load_config(tmp_path / f"{first}.yaml")
    assert load_config(tmp_path / "76.yaml").SEED == 76


def test_plain_aliases_may_be_used():
    assert read_yaml("a: &a [1, 2]\nb: *a\nc: &c text\nd: [*c, *c]", "c.yaml")["d"] == ["text", "text"]


def test_numbers_keep_all_their_digits(tmp_path):
    (tmp_path / "c.yaml").write_text("SEED: 9007199254740993\nSTAGE: view\n")
    assert load_config(tmp_path / "c.yaml").SEED == 9007199254740993


def test_any_damage_to_a_configuration_is_one_line_or_none(tmp_path):
    """A few of the many that `tools/soak_inputs.py` tries."""
    draw, whole = random.Random(1), default_config().dump().encode()
    for _ in range(40):
        content = bytearray(whole)
        for _ in range(draw.randrange(1, 4)):
            at = draw.randrange(len(content))
            content[at : at + draw.randrange(3)] = draw.choice(
                [b"", b"\0", b"[", b"{", b"*a", b"&a ", b"\xff", b": ", b"\n"]
            )
        (tmp_path / "c.yaml").write_bytes(content)
        try:
            load_config(tmp_path / "c.yaml", [("STAGE", "view")])
        except UserError as error:
            assert "\n" not in str(error) and len(str(error)) < 1500
