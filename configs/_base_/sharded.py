# Weights, gradients and moments are spread over the processes (torch's FSDP), block by block. With
# one process nothing is sharded.
model_wrapper_cfg = dict(type='ShardedDataParallel')
runner_type = 'ShardedRunner'
