# Stage 2 that keeps the teacher's decisions. Another run with the same images, augmentation, seed,
# batch and number of processes takes them from the folder, and its teacher never runs.
_base_ = '../imagenet/g2sd_vits_cls.py'

custom_hooks = [
    dict(type='StepSeedHook'),
    dict(type='SampleErrorHook', limit=100),
    dict(type='WeightsExportHook'),
    dict(type='TeacherAnswersHook', by='step', folder='work_dirs/teacher_labels'),
]
