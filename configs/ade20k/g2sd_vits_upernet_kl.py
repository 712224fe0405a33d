# Stage 2 with a divergence over the classes of each pixel instead. The mean is over pixels and
# classes, 150 times smaller than a mean over pixels.
_base_ = './g2sd_vits_upernet.py'

distillation = dict(
    losses=dict(
        _delete_=True,
        loss_kl=dict(type='PixelwiseKLDivergence', tap='logits', tau=1.0, loss_weight=10.0)))
