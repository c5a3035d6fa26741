"""Names of prepared videos, which say nothing of the patient."""

from __future__ import annotations

import hashlib
import hmac
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from echoviewclip.datasets.intake.records import Options


def target_names(names: Sequence[str], options: Options, salt: bytes) -> dict[str, str]:
    """Name of the prepared video for each source: a salted hash, or with `keep_names` its own."""
    if not options.keep_names:
        return {name: f"{keyed_hash(salt, name)}.avi" for name in names}
    short = {name: str(Path(name).with_suffix(".avi")) for name in names}
    taken = Counter(short.values())
    return {name: target if taken[target] == 1 else f"{name}.avi" for name, target in short.items()}


def keyed_hash(salt: bytes, text: str) -> str:
    """What stands for a name or a patient where no one may read it; the same each time for one salt."""
    return hmac.new(salt, text.encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()[:20]


def hash_patient(salt: bytes, patient: str) -> str:
    """What stands for a patient; nothing where it is not known who it is."""
    return keyed_hash(salt, f"patient {patient}") if patient else ""
