#!/usr/bin/env bash
# The files of this folder, from the root of the checkout: two and a half hours of a core.
set -euo pipefail
python tools/reproduce.py --suite mini --tasks cls det seg depth --rows teacher --seeds 0 --record work_dirs/teachers
for name in mae cls maskrcnn upernet depth; do
    python tools/checkpoint.py convert "work_dirs/mini/seed0/vitb_$name/weights.pth" \
        "configs/shapes/teachers/vitb_$name.safetensors" --to same --half --force
done
chmod 644 configs/shapes/teachers/*.safetensors
