#!/usr/bin/env bash
# Format, lint, types: what a commit and the tests begin with. `bash tools/check.sh --fix` formats and corrects first.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ "${1:-}" = --fix ]; then
  .venv/bin/ruff check --quiet --fix . || true
  .venv/bin/ruff format --quiet .
fi
.venv/bin/ruff format --check --quiet .
.venv/bin/ruff check --quiet .
.venv/bin/mypy --no-error-summary
