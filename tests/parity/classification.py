"""Specific distillation for classification: logits, both losses, NKD, gradients."""

from __future__ import annotations

import torch
from mmengine.registry import MODELS

from g2sd_mm.checkpoints.convert import in_our_names
from g2sd_mm.distill.losses.classification import hard_distillation_loss, nkd_loss

from .golden import Golden, check_exact, check_gradient, check_gradients, check_loss, check_output


def build_classifier(size: dict, image: int, patch: int, classes: int, two_tokens: bool):
    """An mmpretrain ``ImageClassifier`` in float64 with our backbone."""
    head = dict(type='TwoTokenClsHead') if two_tokens else dict(type='LinearClsHead')
    return MODELS.build(
        dict(
            _scope_='mmpretrain',
            type='ImageClassifier',
            backbone=dict(
                type='G2SDViT',
                arch={k: size[k] for k in ('embed_dim', 'depth', 'num_heads')},
                img_size=image,
                patch_size=patch,
                out_type='dist_token' if two_tokens else 'avg_featmap',
            ),
            head=dict(
                **head,
                num_classes=classes,
                in_channels=size['embed_dim'],
                loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original'),
            ),
        )
    ).double()


def sd_cls(golden: Golden) -> None:
    cfg = golden.meta['cfg']
    shape = (cfg['img'], cfg['patch'], cfg['classes'])
    student = build_classifier(cfg['stu'], *shape, two_tokens=True)
    teacher = build_classifier(cfg['tea'], *shape, two_tokens=False).eval()
    student.load_state_dict(in_our_names(golden.below('student/')))
    teacher.load_state_dict(in_our_names(golden.below('teacher/')))

    images = golden['images']
    with torch.no_grad():
        taught = teacher(images, mode='tensor')
    check_output(taught, golden['teacher_logits'], 'teacher logits')
    check_exact(taught.argmax(1), golden['teacher_label'], 'teacher labels')

    ((cls, dist),) = student.backbone(images)
    check_output(cls, golden['feat_cls'], 'class feature')
    check_output(dist, golden['feat_dist'], 'dist feature')
    layers = student.head.layers
    check_output(layers.head(cls), golden['logits_cls'], 'class logits')
    check_output(layers.head_dist(dist), golden['logits_dist'], 'dist logits')
    student.eval()
    check_output(student(images, mode='tensor'), golden['logits_eval'], 'averaged logits')
    student.head.average = False
    check_output(student(images, mode='tensor'), golden['logits_eval_nkd'], 'logits with NKD')

    student.train()
    # the golden target is smoothed already (smoothing commutes with mixing), so plain soft CE here
    target = golden['target_soft']
    logits = student(images, mode='tensor')
    loss_gt = -(target * logits.log_softmax(1)).sum(1).mean()
    loss_dist = hard_distillation_loss(layers.head_dist(student.backbone(images)[0][1]), taught)
    check_loss(loss_gt, golden['loss_gt'], 'task loss')
    check_loss(loss_dist, golden['loss_dis'], 'distillation loss')
    check_loss((loss_gt + loss_dist) / 2, golden['loss'], 'total loss')
    smoothed = student.head.loss_module(logits, golden['label_hard'])
    check_loss(smoothed, golden['loss_gt_labelsmooth'], 'label-smoothing loss of the head')
    ((loss_gt + loss_dist) / 2).backward()
    check_gradients(student, in_our_names(golden.below('grad/')), 'gradient')
    _nkd(golden)


def _nkd(golden: Golden) -> None:
    cases = [name[: -len('/hard/loss')] for name in golden.names if name.endswith('/hard/loss')]
    assert cases
    for case in cases:
        # nkd_t{temperature}, alpha 1 unless "_alpha{a}" follows
        tau, _, alpha = case.removeprefix('nkd_t').partition('_alpha')
        for kind, target in (('hard', 'label_hard'), ('soft', 'target_soft')):
            logits = golden['nkd_logits_student'].requires_grad_()
            loss = nkd_loss(
                logits, golden['nkd_logits_teacher'], golden[target], float(alpha or 1), float(tau)
            )
            check_loss(loss, golden[f'{case}/{kind}/loss'], f'{case} {kind}')
            loss.backward()
            check_gradient(logits.grad, golden[f'{case}/{kind}/grad_logits'], f'{case} {kind}')
