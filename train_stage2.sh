#!/usr/bin/env bash
# Stage 2: whether it shows one of them at all. Passes its arguments on, e.g. `bash train_stage2.sh --only_test --resume output/negation/best.pth`.
set -euo pipefail
source "$(dirname "$0")/utils/launch.sh"
launch configs/ultracls/negation.yaml "$@"
