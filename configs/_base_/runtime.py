# What every run has: seeds, checkpoints, logs. Task configs say which library's scope they are in.
custom_imports = dict(imports=['g2sd_mm.registered'], allow_failed_imports=False)

default_hooks = dict(
    runtime_info=dict(type='MetricsHook'),  # losses leave the device when they are logged
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='CheckpointHook', interval=1, max_keep_ckpts=2),
    sampler_seed=dict(type='DistSamplerSeedHook'),
)
custom_hooks = [
    dict(type='StepSeedHook'),
    dict(type='SampleErrorHook', limit=100),
    dict(type='WeightsExportHook'),
]
# one seed for all ranks: the data set and StepSeedHook derive different numbers from it
randomness = dict(seed=0, diff_rank_seed=False)
env_cfg = dict(
    cudnn_benchmark=True,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    # seconds after which a process that does not answer is given up; one of them evaluates alone
    dist_cfg=dict(backend='nccl', timeout=1800),
)
# alarms, see docs/reliability.md: updates that may be left out before the run stops; the loss above
# `factor` x its median for `patience` steps is reported. Without an entry each has its defaults, so
# have dry_run=dict(images=2) and teacher_metric=dict(); None leaves one out.
reliability = dict(
    non_finite=dict(max_skips=0), divergence=dict(factor=5.0, patience=20, window=200))
log_level = 'INFO'
load_from = None
resume = False
