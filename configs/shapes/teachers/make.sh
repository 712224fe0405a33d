#!/usr/bin/env bash
# The file of this folder, from the root of the checkout.
set -euo pipefail
python tools/reproduce.py --suite mini --tasks depth --rows teacher --seeds 0 --record work_dirs/teachers
python tools/checkpoint.py convert work_dirs/mini/seed0/vitb_depth/weights.pth \
    configs/shapes/teachers/vitb_depth.safetensors --to same --half --force
