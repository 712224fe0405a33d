# Stage 1 of the mini suite in which every image has four views in turn, so that the teacher is
# asked once for each: later epochs read its answers from disk (0.2 GB).
_base_ = './g2sd_vits_generic.py'

train_dataloader = dict(dataset=dict(views=4))
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='TeacherAnswersHook', folder='work_dirs/answers', limit_gb=20),
]
