"""Networks of timm as backbones: the maps that timm gives, weights that fit to the last name."""

from __future__ import annotations

import pytest
import timm
import torch
from mmengine.registry import MODELS
from torch import nn

from g2sd_mm.checkpoints import CheckpointError
from g2sd_mm.engine.optimizers import ViTLayerDecayConstructor
from g2sd_mm.models.backbones import TimmBackbone

from ..helpers.toys import autoencoder, images, refused, save, words

SIDE = 64
#: Small variants of the families: name in timm, and options.
FAMILIES = {
    'convnext': ('convnext_atto', dict(depths=(1, 1, 1, 1), dims=(8, 16, 24, 32))),
    'repvit': ('repvit_m0_9', dict(embed_dim=(8, 16, 24, 32), depth=(1, 1, 1, 1))),
    'fastvit': ('fastvit_t8', dict(embed_dims=(8, 16, 32, 64), layers=(1, 1, 1, 1))),
    'mobilenetv4': ('mobilenetv4_conv_small_035', {}),
    'hiera': (
        'hiera_tiny_224',
        dict(embed_dim=16, stages=(1, 1, 1, 1), num_heads=1, img_size=(SIDE, SIDE)),
    ),
    'swin': (
        'swin_tiny_patch4_window7_224',
        dict(embed_dim=8, depths=(1,) * 4, num_heads=(1,) * 4, img_size=SIDE, window_size=4),
    ),
    'resnet': ('resnet18', dict(channels=(8, 16, 24, 32))),
    'vit': ('vit_tiny_patch16_224', dict(embed_dim=16, depth=3, num_heads=2, img_size=SIDE)),
}


def backbone(family: str = 'convnext', seed: int = 0, **changes) -> TimmBackbone:
    name, options = FAMILIES[family]
    torch.manual_seed(seed)
    model = MODELS.build({**dict(type='TimmBackbone', model=name, **options), **changes})
    model.init_weights()
    return model


def whole(family: str = 'convnext', seed: int = 1, **changes) -> nn.Module:
    """timm's own network, without a classifier unless ``num_classes`` is given."""
    name, options = FAMILIES[family]
    torch.manual_seed(seed)
    return timm.create_model(name, **{'num_classes': 0, **options, **changes}).eval()


@pytest.mark.parametrize('family', FAMILIES)
def test_maps_are_those_of_timms_own_pyramid(family, tmp_path):
    name, options = FAMILIES[family]
    theirs = timm.create_model(
        name, features_only=True, out_indices=(-2, -1), pretrained=False, **options
    ).eval()
    network = whole(family)
    state = {key.replace('model.', '', 1): t for key, t in theirs.state_dict().items()}
    # some of timm's pyramids rename: stages.0.blocks becomes stages_0.blocks
    state = {_plain(key, network): t for key, t in state.items()}
    assert not network.load_state_dict(state, strict=False).unexpected_keys
    file = save(tmp_path / 'x.pth', network)
    own = backbone(family, out_indices=(-2, -1), init_cfg=dict(checkpoint=file)).eval()
    with torch.no_grad():
        expected, found = theirs(images(2, SIDE)), own(images(2, SIDE))
    assert [m.shape[1] for m in found] == own.out_channels
    for one, other in zip(found, expected, strict=True):
        if other.shape != one.shape:  # timm's hooks give some families channels last
            other = other.movedim(-1, 1)
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def _plain(name: str, network: nn.Module) -> str:
    for place, _ in network.named_modules():
        flat = place.replace('.', '_')
        if '.' in place and place.count('.') == 1 and name.startswith(f'{flat}.'):
            return place + name[len(flat):]
    return name


@pytest.mark.parametrize('family', FAMILIES)
def test_nothing_is_left_without_a_gradient(family):
    model = backbone(family, out_indices=(-2, -1)).train()
    sum(m.square().mean() for m in model(images(2, SIDE))).backward()
    without = {n for n, p in model.named_parameters() if p.requires_grad and p.grad is None}
    assert not without
    earlier = backbone(family, out_indices=(0,)).train()
    assert len(list(earlier.parameters())) < len(list(model.parameters()))
    sum(m.square().mean() for m in earlier(images(2, SIDE))).backward()
    assert all(p.grad is not None for p in earlier.parameters())


@pytest.mark.parametrize('classes', [0, 7])
def test_it_starts_from_a_file_of_timm(classes, tmp_path):
    source = whole(num_classes=classes)
    model = backbone(init_cfg=dict(type='Pretrained', checkpoint=save(tmp_path / 'x.pth', source)))
    state = source.state_dict()
    own = model.network.state_dict()
    assert all(torch.equal(own[name], state[name]) for name in own)
    assert set(state) - set(own) == {
        'head.norm.weight', 'head.norm.bias',
        *(('head.fc.weight', 'head.fc.bias') if classes else ()),
    }  # fmt: skip


@pytest.mark.parametrize(
    'prefix', ['backbone.network.', 'student.backbone.network.', 'student.network.',
               'backbone.timm_model.', '']
)  # fmt: skip
def test_it_starts_from_where_such_networks_lie(prefix, tmp_path):
    source = backbone(seed=5).network.state_dict()
    file = save(tmp_path / 'x.pth', {
        **{prefix + name: tensor for name, tensor in source.items()},
        **({'head.fc.weight': torch.zeros(3, 32)} if prefix else {}),
    })  # fmt: skip
    model = backbone(seed=1, init_cfg=dict(checkpoint=file))
    assert all(torch.equal(t, source[n]) for n, t in model.network.state_dict().items())


def test_a_file_of_its_authors_is_read_by_timms_rules(tmp_path):
    source = whole()
    theirs = {}
    for name, tensor in source.state_dict().items():
        for ours, original in (
            ('stem.', 'downsample_layers.0.'), ('.blocks.', '.'), ('conv_dw', 'dwconv'),
            ('mlp.fc', 'pwconv'), ('head.norm.', 'norm.'),
        ):  # fmt: skip
            name = name.replace(ours, original)
        parts = name.split('.')
        if 'downsample' in parts:
            name = '.'.join(['downsample_layers', parts[1], *parts[3:]])
        if 'pwconv' in name and name.endswith('weight'):
            tensor = tensor.flatten(1)
        theirs[name] = tensor
    model = backbone(init_cfg=dict(checkpoint=save(tmp_path / 'x.pth', {'model': theirs})))
    state = source.state_dict()
    assert all(torch.equal(t, state[n]) for n, t in model.network.state_dict().items())


def test_kernels_are_adapted_to_other_channels(tmp_path):
    source = whole()
    file = save(tmp_path / 'x.pth', source)
    model = backbone(in_channels=1, init_cfg=dict(checkpoint=file)).eval()
    grey = images(2, SIDE)[:, :1]
    expected = backbone(init_cfg=dict(checkpoint=file)).eval()(grey.expand(-1, 3, -1, -1))
    torch.testing.assert_close(model(grey)[0], expected[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ('state', 'message'),
    [
        (lambda: autoencoder().state_dict(), ('a full masked autoencoder', 'missing')),
        (lambda: whole(dims=(8, 16, 24, 40)).state_dict(), ('of another size', 'stages.3')),
        (lambda: whole('resnet').state_dict(), ('missing', 'unknown')),
        (lambda: {n: t for n, t in whole().state_dict().items() if 'stages.2' not in n},
         ('missing (stages.2',)),
    ],
)  # fmt: skip
def test_a_file_of_another_network_is_refused(state, message, tmp_path):
    file = save(tmp_path / 'x.pth', state())
    with pytest.raises(CheckpointError, match=words('x.pth', 'TimmBackbone', *message)):
        backbone(init_cfg=dict(checkpoint=file))


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(model='convnet_atto'), ("model.backbone.model='convnet_atto'", "'convnext_atto'")),
        (dict(model='convnext_atto.d2_in1k'), ('model.backbone.model', 'd2_in1k',
                                               "write 'convnext_atto'")),
        (dict(model='hf-hub:some/one'), ('model.backbone.model', 'no such network')),
        (dict(pretrained=True), ('model.backbone.pretrained', 'init_cfg')),
        (dict(checkpoint_path='x.pth'), ('model.backbone.checkpoint_path', 'init_cfg')),
        (dict(depth_of_it=3), ('model.backbone', 'convnext_atto', 'depth_of_it')),
        (dict(out_indices=(0, 4)), ('model.backbone.out_indices=(0, 4)', '0 to 3')),
        (dict(out_indices=(2, 1)), ('model.backbone.out_indices=(2, 1)', 'rising')),
        (dict(out_indices=()), ('model.backbone.out_indices=()',)),
        (dict(frozen_stages=5), ('model.backbone.frozen_stages=5', '-1..4')),
    ],
)  # fmt: skip
def test_a_config_that_timm_cannot_build_is_refused(changes, message):
    with refused(*message):
        backbone(**changes)


def test_the_advice_on_a_tag_works():
    assert backbone(model='convnext_atto')(images(1, SIDE))[0].shape == (1, 32, 2, 2)


@pytest.mark.parametrize('stages', [-1, 0, 2, 4])
def test_frozen_stages_get_no_gradient_and_stay_in_evaluation_mode(stages):
    model = backbone('resnet', frozen_stages=stages).train()
    frozen = {n for n, p in model.network.named_parameters() if not p.requires_grad}
    parts = ('conv1', 'bn1', *(f'layer{i}.' for i in range(1, stages + 1))) if stages >= 0 else ()
    expected = {n for n, _ in model.network.named_parameters() if parts and n.startswith(parts)}
    assert frozen == expected
    before = {n: b.clone() for n, b in model.network.named_buffers() if 'running_mean' in n}
    model(images(2, SIDE, seed=3))
    after = dict(model.network.named_buffers())
    kept = {n for n, b in before.items() if torch.equal(b, after[n])}
    assert kept == {n for n in before if parts and n.startswith(parts)}


def test_norm_eval_keeps_running_statistics():
    model = backbone('resnet', norm_eval=True).train()
    before = {n: b.clone() for n, b in model.named_buffers()}
    model(images(2, SIDE))
    assert all(torch.equal(b, before[n]) for n, b in model.named_buffers())
    assert model.network.layer1[0].training


def test_layers_have_rates_of_their_own():
    holder = nn.Module()
    holder.backbone, holder.head = backbone(out_indices=(0, 3)), nn.Linear(2, 2)
    maker = ViTLayerDecayConstructor(
        dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1.0)),
        dict(layer_decay_rate=0.5),
    )
    groups = maker.parameter_groups(holder, 1.0, 0.1)
    rates = {name: group['lr'] for group in groups for name in group['param_names']}
    assert len(rates) == len(list(holder.parameters()))
    assert rates['head.weight'] == 1.0
    depth = holder.backbone.depth
    assert rates['backbone.network.stem.0.weight'] == 0.5 ** (depth + 1)
    assert rates['backbone.network.stages.3.blocks.0.conv_dw.weight'] == 0.5
    stages = [rates[f'backbone.network.stages.{i}.blocks.0.conv_dw.weight'] for i in range(4)]
    assert stages == sorted(stages) and len(set(stages)) == 4


def test_recomputation_changes_no_gradient():
    found = []
    for with_cp in (False, True):
        model = backbone(seed=2, with_cp=with_cp).train()
        model(images(2, SIDE))[0].square().mean().backward()
        found.append([p.grad for p in model.parameters()])
    assert all(torch.allclose(a, b, rtol=1e-5, atol=1e-7) for a, b in zip(*found, strict=True))


def test_no_part_says_that_it_predicts_classes():
    """mmdet compares whatever has ``num_classes`` with the classes of its data."""
    for family in FAMILIES:
        assert not any(hasattr(m, 'num_classes') for m in backbone(family).modules()), family
