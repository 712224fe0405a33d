#!/usr/bin/env bash
# bash tools/dist_train.sh CONFIG N [train.py options]: train on N processes of this machine, one a GPU
# (without GPUs: N CPU processes over gloo). Several machines: NNODES, NODE_RANK, MASTER_ADDR, PORT (29500).
# SIGTERM or SIGUSR1 to this script: all processes save after the step that they are in, and it exits 0.
set -euo pipefail
if [ $# -lt 2 ]; then
  echo "usage: bash tools/dist_train.sh CONFIG N [options of tools/train.py]" >&2
  exit 2
fi
config=$1 processes=$2
shift 2
# several machines have to know of one port; on one machine two runs at once need two
port=${PORT:-29500}
if [ -z "${PORT:-}" ] && [ "${NNODES:-1}" = 1 ]; then
  free='import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])'
  port=$("${PYTHON:-python}" -c "$free")
fi
# torchrun would answer a signal by killing its processes: it ignores this one, which they get instead
(
  trap '' USR1
  exec "${PYTHON:-python}" -m torch.distributed.run \
    --nnodes "${NNODES:-1}" --node_rank "${NODE_RANK:-0}" --nproc_per_node "$processes" \
    --master_addr "${MASTER_ADDR:-127.0.0.1}" --master_port "$port" \
    "$(dirname "$0")/train.py" "$config" --launcher pytorch "$@"
) &
launcher=$!
trap 'pkill -USR1 -P "$launcher" || true' TERM USR1
trap 'kill -INT "$launcher"' INT
while true; do
  code=0
  wait "$launcher" || code=$?
  kill -0 "$launcher" 2>/dev/null || exit "$code"
done
