#!/usr/bin/env bash
# bash tools/dist_test.sh CONFIG CHECKPOINT N [test.py options]: evaluate on N processes, see dist_train.sh.
set -euo pipefail
if [ $# -lt 3 ]; then
  echo "usage: bash tools/dist_test.sh CONFIG CHECKPOINT N [options of tools/test.py]" >&2
  exit 2
fi
config=$1 checkpoint=$2 processes=$3
shift 3
# several machines have to know of one port; on one machine two runs at once need two
port=${PORT:-29500}
if [ -z "${PORT:-}" ] && [ "${NNODES:-1}" = 1 ]; then
  free='import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])'
  port=$("${PYTHON:-python}" -c "$free")
fi
exec "${PYTHON:-python}" -m torch.distributed.run \
  --nnodes "${NNODES:-1}" --node_rank "${NODE_RANK:-0}" --nproc_per_node "$processes" \
  --master_addr "${MASTER_ADDR:-127.0.0.1}" --master_port "$port" \
  "$(dirname "$0")/test.py" "$config" "$checkpoint" --launcher pytorch "$@"
