#!/usr/bin/env bash
# [GPUS=8] [GPUS_PER_NODE=8] [CPUS_PER_TASK=8] [SRUN_ARGS=...] bash tools/slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT [test.py options]
set -euo pipefail
if [ $# -lt 4 ]; then
  echo "usage: [GPUS=8] bash tools/slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT [options of tools/test.py]" >&2
  exit 2
fi
partition=$1 job=$2
shift 2
gpus=${GPUS:-8} per_node=${GPUS_PER_NODE:-8}
# one task a GPU; unquoted SRUN_ARGS: it is a list of options
exec srun --partition "$partition" --job-name "$job" \
  --gres "gpu:$per_node" --ntasks "$gpus" --ntasks-per-node "$per_node" \
  --cpus-per-task "${CPUS_PER_TASK:-8}" --kill-on-bad-exit=1 ${SRUN_ARGS:-} \
  "${PYTHON:-python}" -u "$(dirname "$0")/test.py" "$@" --launcher slurm
