# Row "vitkd": labels, the first two layers imitated and the last one generated.
_base_ = './vits_soft_kd_cls.py'

distillation = dict(
    taps=dict(_delete_=True, layers='backbone.blocks.*'),
    losses=dict(
        _delete_=True,
        loss_vitkd=dict(
            type='ViTKDLoss',
            tap='layers',
            channels=768,
            student_channels=384,
            alpha=3e-5,
            beta=3e-6)))
