# Row "vitkd": labels, the first two layers imitated and the last one generated.
_base_ = './vits_soft_kd_cls.py'

distillation = dict(
    taps=dict(_delete_=True, layers='backbone.blocks.*'),
    losses=dict(
        _delete_=True,
        # sums over 49 patches of width 128 instead of 196 of width 768: weights times 24
        loss_vitkd=dict(
            type='ViTKDLoss',
            tap='layers',
            channels=128,
            student_channels=64,
            alpha=7.2e-4,
            beta=7.2e-5)))
