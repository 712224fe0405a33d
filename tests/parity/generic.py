"""Generic distillation, its losses, the pixel loss and position embeddings."""

from __future__ import annotations

import torch

from g2sd_mm.checkpoints.convert import published_name
from g2sd_mm.distill import SpecificDistiller
from g2sd_mm.distill.losses.alignment import select_tokens
from g2sd_mm.distill.losses.relation import token_relation_loss
from g2sd_mm.models.fit import fit_to_image
from g2sd_mm.models.mae import patchify, pixel_loss, unpatchify
from g2sd_mm.models.masking import random_masking
from g2sd_mm.models.positions import resize_positions, sincos_position_embedding, square_grid

from .golden import Golden, check_exact, check_gradient, check_gradients, check_loss, check_output


def autoencoder(size: dict, image: int, patch: int) -> dict:
    """Constructor arguments from a golden file's size block."""
    return dict(
        arch=dict(embed_dim=size['embed_dim'], depth=size['depth'], num_heads=size['num_heads']),
        decoder=dict(
            embed_dim=size['decoder_embed_dim'],
            depth=size['decoder_depth'],
            num_heads=size['decoder_num_heads'],
        ),
        img_size=image,
        patch_size=patch,
    )


#: Tap -> the published name of its predictor.
PREDICTORS = {'tokens': 'decoderfeature_pred', 'encoder': 'encoderfeature_pred'}


def build_distiller(golden: Golden, tokens: str, mask_ratio: float) -> SpecificDistiller:
    cfg = golden.meta['cfg']
    widths = [
        (cfg['stu'][key], cfg['tea'][key]) for key in ('decoder_embed_dim', 'embed_dim')
    ]
    beta = golden.meta['smooth_l1_beta']
    distiller = SpecificDistiller(
        student=dict(
            type='MaskedStudent',
            **autoencoder(cfg['stu'], cfg['img'], cfg['patch']),
            mask_ratio=mask_ratio,
        ),
        teacher=dict(
            type='MAETeacher',
            **autoencoder(cfg['tea'], cfg['img'], cfg['patch']),
            until=f'decoder_blocks.{cfg["sup"] - 1}',
            dtype='float64',
            random_weights=True,
        ),
        taps=dict(
            tokens=dict(student='decoder_blocks.-1', teacher='decoder_blocks.-1'),
            encoder=dict(student='norm', teacher='blocks.-1'),
        ),
        adapters={
            tap: dict(type='MlpAdapter', in_channels=own, out_channels=other)
            for tap, (own, other) in zip(PREDICTORS, widths, strict=True)
        },
        losses=dict(
            loss_tokens=dict(type='SmoothL1FeatureLoss', tap='tokens', beta=beta, tokens=tokens),
            loss_encoder=dict(type='SmoothL1FeatureLoss', tap='encoder', beta=beta),
        ),
    ).double()
    load(distiller.student, golden.below('student/'))
    load(distiller.teacher.model, golden.below('teacher/'))
    for tap, predictor in PREDICTORS.items():
        distiller.distillation.adapters[tap].load_state_dict(golden.below(f'student/{predictor}.'))
    return distiller


def load(module: torch.nn.Module, state: dict) -> None:
    """Load; the golden state may have more (pixel heads, later blocks), never less."""
    missing = module.load_state_dict(state, strict=False).missing_keys
    assert not missing, missing


def gd(golden: Golden) -> None:
    ratios = sorted({name.split('/')[0] for name in golden.names if name[0] == 'r'})
    assert ratios
    for ratio in ratios:
        for supervise in ('all', 'masked'):
            distiller = build_distiller(golden, supervise, int(ratio[1:]) / 100)
            masking = random_masking(golden['noise'], distiller.student.mask_ratio)
            _forward(golden, ratio, supervise, distiller, masking)


def _forward(golden: Golden, ratio: str, supervise: str, distiller, masking) -> None:
    images, place = golden['images'], f'{ratio}/{supervise}'
    check_exact(masking.mask, golden[f'{ratio}/mask'], 'mask')
    check_exact(masking.restore, golden[f'{ratio}/ids_restore'], 'ids_restore')

    taught = distiller.distillation.ask_teacher(images, view=masking)
    own = distiller.student.encode(images, masking)
    adapters = distiller.distillation.adapters
    predicted = adapters['tokens'](distiller.student.decode(own.latent, masking))
    check_output(taught['encoder'], golden[f'{ratio}/tea_prenorm'], 'teacher encoder')
    check_output(own.latent, golden[f'{ratio}/stu_latent'], 'student latent')
    check_output(own.prenorm, golden[f'{ratio}/stu_prenorm'], 'student before the norm')
    check_output(
        adapters['encoder'](own.latent), golden[f'{ratio}/stu_encpred'], 'encoder predictor'
    )
    raw, pred = (select_tokens(t, supervise, masking) for t in (taught['tokens'], predicted))
    check_output(raw, golden[f'{place}/target_raw'], 'target')
    check_output(pred, golden[f'{place}/pred'], 'prediction')

    losses = distiller.losses(images, view=masking)
    check_loss(losses['loss_tokens'], golden[f'{place}/loss_dec'], 'decoder loss')
    check_loss(losses['loss_encoder'], golden[f'{place}/loss_enc'], 'encoder loss')
    for key, loss in (('grad/', 'loss_tokens'), ('grad_enc/', 'loss_encoder')):
        gradients = golden.below(f'{place}/{key}')
        if gradients:
            distiller.zero_grad()
            losses[loss].backward(retain_graph=True)
            check_gradients(_Named(distiller), gradients, f'{loss} gradient')


class _Named:
    """The distiller's parameters under the official names: student bare, predictors beside it."""

    def __init__(self, distiller: SpecificDistiller) -> None:
        self._distiller = distiller

    def named_parameters(self):
        for name, parameter in self._distiller.named_parameters():
            yield published_name(name).removeprefix('student.'), parameter


def relation(golden: Golden) -> None:
    cfg = golden.meta['cfg']
    for heads in cfg['Ar']:
        sides = {
            side: [
                tuple(golden[f'{side}/{layer}/{part}'].requires_grad_() for part in 'qkv')
                for layer in range(cfg[f'layers_{side[0]}'])
            ]
            for side in ('student', 'teacher')
        }
        loss = token_relation_loss(sides['student'], sides['teacher'], heads)
        check_loss(loss, golden[f'Ar{heads}/loss'], f'relation loss, {heads} heads')
        loss.backward()
        last = cfg['layers_s'] - 1
        for part, tensor in zip('qkv', sides['student'][last], strict=True):
            check_gradient(tensor.grad, golden[f'Ar{heads}/grad/{last}/{part}'], part)


def pixloss(golden: Golden) -> None:
    patch, images = golden.meta['cfg']['patch'], golden['imgs']
    check_exact(patchify(images, patch), golden['patchify'], 'patchify')
    check_exact(unpatchify(golden['pred'], patch), golden['unpatchify_of_pred'], 'unpatchify')
    for name, norm_pix in (('normpix', True), ('rawpix', False)):
        predicted = golden['pred'].requires_grad_()
        loss = pixel_loss(predicted, images, golden['mask'], patch, norm_pix)
        check_loss(loss, golden[f'{name}/loss'], name)
        loss.backward()
        check_gradient(predicted.grad, golden[f'{name}/grad_pred'], name)


def posembed(golden: Golden) -> None:
    tables = [name for name in golden.names if name.startswith('sincos_')]
    assert tables
    for name in tables:
        _, dim, side = name.split('_')
        table = sincos_position_embedding(int(dim), (int(side), int(side)))[0]
        check_output(table, golden[name], name)
    before, after = golden['interp_before'], golden['interp_after']
    old, new = square_grid(before.shape[1] - 1), square_grid(after.shape[1] - 1)
    check_output(resize_positions(before, old, new), after, 'resized positions')
    state = {'pos_embed': before, 'patch_embed.proj.weight': before.new_zeros(1, 3, 16, 16)}
    check_output(fit_to_image(state, 16 * new[0])['pos_embed'], after, 'converted positions')
