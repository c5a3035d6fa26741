#!/usr/bin/env bash
# The tests: `bash test.sh` (minutes), `bash test.sh --all` (the slow ones too); further arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")"
source utils/set_up.sh
set_up requirements-dev.txt
.venv/bin/ruff format --check --quiet . && .venv/bin/ruff check --quiet .
only=(-m "not slow")
[ "${1:-}" = --all ] && only=() && shift
exec .venv/bin/python -m pytest ${only[@]+"${only[@]}"} "$@"
