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
    dist_cfg=dict(backend='nccl'),
)
log_level = 'INFO'
load_from = None
resume = False
