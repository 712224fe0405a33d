# Row "mkd": labels and soft labels at temperatures that are adapted by meta-gradient.
_base_ = './vits_soft_kd_cls.py'

model = dict(head=dict(loss=dict(loss_weight=0.5)))
distillation = dict(
    losses=dict(
        _delete_=True,
        loss_meta=dict(type='MetaSoftDistillationLoss', tap='logits', loss_weight=0.5)))
custom_hooks = [*_base_.custom_hooks, dict(type='MetaTemperatureHook', every=10)]
