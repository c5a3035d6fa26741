#!/usr/bin/env bash
# The tests: `bash test.sh` (minutes), `bash test.sh --all` (the slow ones too); further arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")"
source utils/set_up.sh
set_up requirements-dev.txt
bash tools/check.sh
only=(-m "not slow")
[ "${1:-}" = --all ] && only=() && shift
# A process for each core, up to four (each may hold 3 GB), with a thread of its own. Each has its part of the tests in
# their order, so that files' fixtures are made once, and takes over from the others' when it is done.
export OMP_NUM_THREADS=1
exec .venv/bin/python -m pytest -n auto --maxprocesses 4 --dist worksteal ${only[@]+"${only[@]}"} "$@"
