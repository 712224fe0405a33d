# Stage 2, classification, with four views of every image, as in g2sd_vits_generic_answers.py.
_base_ = './g2sd_vits_cls.py'

train_dataloader = dict(dataset=dict(views=4))
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='TeacherAnswersHook', folder='work_dirs/answers', limit_gb=20),
]
