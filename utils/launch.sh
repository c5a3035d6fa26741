# Sourced by the train scripts: starts main.py on every visible GPU, or once on the CPU.
# Set PYTHON, GPUS or CFG to choose the interpreter, the number of processes or the configuration.
launch() { # the script's own configuration, which an evaluated checkpoint's replaces, then main.py's further arguments
  local cfg=(--default-cfg "$1")
  [ -z "${CFG:-}" ] || cfg=(-cfg "$CFG")
  shift
  cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
  local python=${PYTHON:-$([ -x .venv/bin/python ] && echo .venv/bin/python || echo python3)}
  local gpus=${GPUS:-$("$python" -c 'import torch; print(torch.cuda.device_count())')}
  if [ "$gpus" -gt 1 ]; then
    export PYTHONPATH=src${PYTHONPATH:+:$PYTHONPATH}
    exec "$python" -m echoviewclip.utils.launch "$gpus" main.py "${cfg[@]}" "$@"
  fi
  exec "$python" main.py "${cfg[@]}" "$@"
}
