"""Several processes of one script on this machine: `python -m utils.launch COUNT SCRIPT ARGUMENTS…`.

torchrun, but a user's mistake stays one line with exit code 2 however many processes make it.
"""

from __future__ import annotations

import logging
import os
import sys

from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import main as torchrun

from utils.errors import SAID_BY_LAUNCHER


def launch(count: int, script: list[str]) -> int:
    """Runs `count` processes to their end; the exit code of the one that failed first, 0 if none did."""
    os.environ[SAID_BY_LAUNCHER] = "1"
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // count)))
    logging.disable()  # torchrun's account of which process was stopped by which signal
    try:
        torchrun(["--standalone", "--nproc_per_node", str(count), *script])
    except ChildFailedError as error:
        number, failure = error.get_first_failure()
        # Only a user's mistake comes with words; any other error has printed its traceback itself.
        said = failure.message if os.path.isfile(failure.error_file) else f"process {number} ended with an error"
        print(f"error: {said}", file=sys.stderr)
        return failure.exitcode if failure.exitcode > 0 else 128 - failure.exitcode
    except SignalException as stopped:
        return 128 + stopped.sigval
    return 0


if __name__ == "__main__":
    raise SystemExit(launch(int(sys.argv[1]), sys.argv[2:]))
