# Sourced by demo.sh and test.sh: makes the virtual environment .venv once and installs what FILE lists.
set_up() { # requirements file
  local python
  for python in python3.13 python3.12 python3.11 python3.10 python3; do
    command -v "$python" >/dev/null && "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null && break
  done || { echo "Python 3.10 or newer is needed" >&2; exit 2; }
  [ -x .venv/bin/python ] || "$python" -m venv .venv
  local mark=.venv/installed-$(basename "$1") want
  want=$(cat requirements*.txt | sha256sum)
  if [ "$(cat "$mark" 2>/dev/null)" != "$want" ]; then
    echo "installing $1 into .venv (a minute or two)"
    # Both by name in one call, so that builds that match each other are chosen.
    .venv/bin/python -m pip install --quiet --disable-pip-version-check torch torchvision -r "$1"
    echo "$want" >"$mark"
  fi
}
