"""Runs the steps of an experiment in order; what is finished is left alone, what was stopped goes on."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from yacs.config import CfgNode

import echoviewclip
from echoviewclip.datasets.annotations import find_list
from echoviewclip.datasets.rows import read_whole
from echoviewclip.experiment.steps import Step
from echoviewclip.utils.errors import UserError
from echoviewclip.utils.files import find_own, write_text
from echoviewclip.utils.stopping import SIGNALS
from echoviewclip.utils.urls import is_url

PACKAGE = Path(echoviewclip.__file__).parent
MARKER = "finished.json"  # in the folder of a step: what it was made from
LISTS = ("TRAIN_FILE", "VAL_FILE", "OOD_FILE", "LABEL_LIST", "QUALITY_LIST")


def run_steps(steps: Sequence[Step], tell: Callable[[str], None]) -> int:
    """Runs those that are not finished; returns the exit code of the first that fails, else 0.

    Raises UserError where a finished training was made from other settings or lists than it now would be.
    """
    for number, step in enumerate(steps, start=1):
        source = _source(step.config())
        before = _made_from(step.folder)
        if before == source:
            tell(f"{number}/{len(steps)}  {step.title} is finished: {step.folder}")
            continue
        if before and step.trains:
            changed = ", ".join(name for name in source if source[name] != before.get(name))
            raise UserError(
                f"{step.folder}: was trained with another {changed}; remove the folder to train it again, or plan "
                "another experiment (tools/new.py --output)"
            )
        tell(f"{number}/{len(steps)}  {step.title} → {step.folder}")
        code = call(command(step))
        if code:
            tell(f"stopped with exit code {code}; the same command goes on from here")
            return code
        write_text(step.folder / MARKER, json.dumps(source, indent=1))
    return 0


def command(step: Step) -> list[str]:
    """main.py on every accelerator, or once on the CPU; GPUS sets the number as for the train scripts."""
    processes = int(os.environ.get("GPUS") or torch.cuda.device_count())
    launcher = ["-m", "echoviewclip.utils.launch", str(processes)] if processes > 1 else []
    return [sys.executable, *launcher, str(PACKAGE / "main.py"), *step.arguments]


def call(command: Sequence[str]) -> int:
    """Runs a command to its end; its exit code, 128 + N where signal N ended it.

    Signals that ask to stop are passed on, and an interruption, which the terminal sends to both, is left to the
    command: a training saves itself before it ends, and this process must not kill it meanwhile.
    """
    path = os.pathsep.join(filter(None, (str(PACKAGE.parent), os.environ.get("PYTHONPATH"))))
    with subprocess.Popen(command, env=os.environ | {"PYTHONPATH": path}) as child:
        before = {number: signal.signal(number, lambda n, _: child.send_signal(n)) for number in SIGNALS}
        before[signal.SIGINT] = signal.signal(signal.SIGINT, lambda *_: None)
        try:
            code = child.wait()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
    return code if code >= 0 else 128 - code


def _made_from(folder: Path) -> dict[str, str]:
    """What a finished step was made from; empty where it is not finished."""
    file = folder / MARKER
    if not (file.is_file() and (folder / "metrics.json").is_file()):
        return {}
    return json.loads(file.read_text(encoding="utf-8"))


def _source(config: CfgNode) -> dict[str, str]:
    """Hashes of all that a step's results depend on: its settings, its lists, the checkpoint that it begins with."""
    found = {"configuration": _hash(config.dump().encode())}
    for key in LISTS:
        files = [file.strip() for file in config.DATA[key].split(",") if file.strip()]
        root = config.DATA.ROOT if key.endswith("FILE") else None
        content = b"".join(read_whole(find_list(file if is_url(file) else find_own(file), root)) for file in files)
        found[f"DATA.{key}"] = _hash(content)
    if config.MODEL.RESUME:
        marker = Path(config.MODEL.RESUME).parent / MARKER
        found["MODEL.RESUME"] = _hash(marker.read_bytes()) if marker.is_file() else ""
    return found


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:20]
