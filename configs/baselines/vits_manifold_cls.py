# Row "manifold": labels, soft labels, and which tokens are alike in the first and last layers.
_base_ = './vits_soft_kd_cls.py'

distillation = dict(
    taps=dict(layers='backbone.blocks.*'),
    losses=dict(loss_manifold=dict(type='ManifoldLoss', tap='layers', ends=4)))
