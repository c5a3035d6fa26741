#!/usr/bin/env bash
# Stage 3: how good the image is. Passes its arguments on, e.g. `bash train_qc.sh --only_test --resume output/quality/best.pth`.
set -euo pipefail
source "$(dirname "$0")/utils/launch.sh"
launch configs/ultracls/quality.yaml "$@"
