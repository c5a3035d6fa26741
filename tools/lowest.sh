#!/usr/bin/env bash
# The tests with the oldest Python and the lowest versions that pyproject.toml and requirements*.txt promise:
# `bash tools/lowest.sh` (all but the slow tests), `bash tools/lowest.sh tests/models`; arguments go to pytest.
# The environment (.venv-lowest, or VENV=FOLDER) is made once and again whenever a bound changes: 6 GB on Linux.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=${VENV:-.venv-lowest}
python=python$(sed -nE 's/^requires-python = ">=([0-9.]+)"/\1/p' pyproject.toml)
bounds=$(sed -nE 's/ *#.*//; s/\[[^]]*\]//; s/>=/==/p' requirements*.txt) # a constraint has no extras
if [ "$(cat "$venv/bounds.txt" 2>/dev/null)" != "$bounds" ]; then
  "$python" -m venv --clear "$venv"
  echo "$bounds" >"$venv/asked.txt"
  wanted=()
  for file in requirements-*.txt; do
    [ "$file" = requirements-decoders.txt ] || wanted+=(-r "$file") # torchcodec needs a later PyTorch
  done
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "${wanted[@]}" -c "$venv/asked.txt"
  mv "$venv/asked.txt" "$venv/bounds.txt"
fi
export OMP_NUM_THREADS=1
exec "$venv/bin/python" -m pytest -n auto --maxprocesses 4 --dist worksteal -m "not slow" "$@"
