"""Whose features are probed: students, bare encoders, other libraries' networks."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from mmengine.registry import MODELS

from g2sd_mm import register_all
from g2sd_mm.checkpoints import encoder_state, read_weights
from g2sd_mm.errors import UserError
from g2sd_mm.models.mae import MaskedAutoencoder
from g2sd_mm.models.masking import random_masking
from g2sd_mm.probe.encoders import IMAGENET, find_encoder
from g2sd_mm.students import load_student

from ..helpers.students import student_folder
from ..helpers.toys import autoencoder, classifier, refused, save

SIZE = dict(arch=dict(embed_dim=64, depth=3, num_heads=1, patch_size=8),
            decoder=dict(embed_dim=12, depth=1, num_heads=2), img_size=32)  # fmt: skip


def pixels(number: int = 2, size: int = 32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (number, 3, size, size), generator=generator, dtype=torch.uint8)


def normalised(x: torch.Tensor, mean, std) -> torch.Tensor:
    mean, std = (torch.tensor(v)[:, None, None] for v in (mean, std))
    return (x.float() - mean) / std


@pytest.fixture(scope='module')
def file(tmp_path_factory) -> tuple[MaskedAutoencoder, str]:
    model = autoencoder(SIZE).eval()
    torch.nn.init.normal_(model.norm.weight)
    return model, save(tmp_path_factory.mktemp('mae') / 'mae.pth', model)


def test_a_bare_encoder_gives_what_the_autoencoder_encodes(file):
    model, path = file
    encoder = find_encoder(path)
    x = normalised(pixels(), *IMAGENET)
    everything = random_masking(torch.rand(2, 16), 0.0)
    with torch.no_grad():
        latent = model.encode(x, everything).latent
    answer = encoder.answer(pixels())
    assert torch.allclose(answer.cls, latent[:, 0], atol=1e-4)
    order = everything.keep.argsort(dim=1)[..., None].expand(-1, -1, 64)
    patches = latent[:, 1:].gather(1, order).unflatten(1, (4, 4))
    assert torch.allclose(answer.patches, patches, atol=1e-4)
    assert encoder.block == 2 and encoder.normed
    assert any('ImageNet' in note for note in encoder.notes)


def test_an_encoder_of_wide_images_says_its_grid(tmp_path):
    """As many patches as a square has, in rows and columns of their own."""
    model = autoencoder(img_size=(16, 64), seed=3)
    path = save(tmp_path / 'wide.pth', model, grid='2x8')
    x = torch.randint(0, 256, (2, 3, 16, 64), dtype=torch.uint8)
    with torch.no_grad():
        tokens = model.blocks[0](model.embed(normalised(x, *IMAGENET))[0])
    answer = find_encoder(path, heads=2, block=0).answer(x)
    assert torch.allclose(answer.patches.flatten(1, 2), tokens[:, 1:], atol=1e-4)


def test_blocks_and_norm(file):
    model, path = file
    x = normalised(pixels(), *IMAGENET)
    with torch.no_grad():
        tokens = model.blocks[0](model.embed(x)[0])
    first = find_encoder(path, block=0)
    assert not first.normed and torch.allclose(first.answer(pixels()).cls, tokens[:, 0], atol=1e-4)
    normed = find_encoder(path, block=-3, norm=True).answer(pixels()).cls
    assert torch.allclose(normed, model.norm(tokens)[:, 0], atol=1e-4)
    for block in (3, -4):
        with refused('--block', '0 to 2'):
            find_encoder(path, block=block)
    with refused('numbers'):
        find_encoder(path, block='blocks.1')


def test_images_of_another_size_are_taken_and_those_without_whole_patches_are_refused(file):
    assert find_encoder(file[1]).answer(pixels(size=48)).patches.shape == (2, 6, 6, 64)
    with refused('30x30', '--size'):
        find_encoder(file[1]).answer(pixels(size=30))


def test_a_bare_vit_with_narrow_mlps_gives_what_it_gives_in_timm(tmp_path):
    import timm

    model = timm.create_model(
        'vit_tiny_patch16_224', img_size=32, patch_size=8, embed_dim=64, depth=2, num_heads=1,
        mlp_ratio=1.5, num_classes=3,
    ).eval()  # fmt: skip
    answer = find_encoder(save(tmp_path / 'narrow.pth', model)).answer(pixels())
    with torch.no_grad():
        tokens = model.forward_features(normalised(pixels(), *IMAGENET))
    assert torch.allclose(answer.cls, tokens[:, 0], atol=1e-4)
    assert torch.allclose(answer.patches.flatten(1, 2), tokens[:, 1:], atol=1e-4)


def test_heads_are_asked_for_where_no_width_says_them(tmp_path):
    path = save(tmp_path / 'odd.pth', autoencoder())  # 24 wide
    with refused('--heads'):
        find_encoder(path)
    one, two = (find_encoder(path, heads=heads).answer(pixels()).cls for heads in (1, 2))
    assert not torch.allclose(one, two)


@pytest.mark.parametrize('out_type', ['avg_featmap', 'cls_token', 'dist_token'])
def test_a_classifier_gives_what_its_head_gets(tmp_path, out_type):
    model = classifier(out_type, dim=64).eval()
    for name, parameter in model.backbone.named_parameters():
        if 'norm' in name or name == 'dist_token':
            torch.nn.init.normal_(parameter)
    path = save(tmp_path / 'classifier.pth', model)
    encoder = find_encoder(path, heads=2)
    answer = encoder.answer(pixels())
    with torch.no_grad():
        (pooled,) = model.backbone(normalised(pixels(), *IMAGENET))
    if out_type == 'avg_featmap':
        assert answer.cls is None
        mean = answer.patches.flatten(1, 2).mean(dim=1)
        assert torch.allclose(encoder.pool(mean), pooled, atol=1e-4)
    else:
        cls = pooled[0] if out_type == 'dist_token' else pooled
        assert torch.allclose(answer.cls, cls, atol=1e-4)


@pytest.mark.parametrize('task', ['classification', 'detection', 'segmentation'])
def test_students_of_all_tasks(tmp_path, task):
    folder = student_folder(tmp_path, task)
    encoder, student = find_encoder(str(folder)), load_student(folder)
    size = 128 if task == 'detection' else 56 if task == 'classification' else 64
    answer = encoder.answer(pixels(size=size))
    with torch.no_grad():
        found = student.model.backbone(normalised(pixels(size=size), student.mean, student.std))
    if task == 'classification':
        assert torch.allclose(answer.cls, found[0][0] if isinstance(found[0], tuple) else found[0],
                              atol=1e-3)  # fmt: skip
    else:
        assert answer.cls is None
        assert torch.allclose(answer.patches.permute(0, 3, 1, 2), found[-1], atol=1e-3)
        with refused('--block'):
            find_encoder(str(folder), block=1)


@pytest.mark.parametrize(
    ('task', 'switch', 'size'),
    [('classification', 'to_rgb', 56), ('segmentation', 'bgr_to_rgb', 64)],
)
def test_a_student_of_bgr_images_is_shown_them(tmp_path, task, switch, size):
    options = {'mean': [100.0, 120.0, 140.0], 'std': [50.0, 60.0, 70.0], switch: False}
    place = 'model.data_preprocessor' if task == 'segmentation' else 'data_preprocessor'
    folder = student_folder(tmp_path, task, **{f'{place}.{k}': v for k, v in options.items()})
    student, encoder = load_student(folder), find_encoder(str(folder))
    assert student.channels == encoder.channels == 'BGR'
    assert encoder.mean == student.mean == (100.0, 120.0, 140.0)
    x = normalised(pixels(size=size).flip(1), student.mean, student.std)
    with torch.no_grad():
        found = student.model.backbone(x)[-1]
    answer = encoder.answer(pixels(size=size))
    got = answer.cls if task == 'classification' else answer.patches.permute(0, 3, 1, 2)
    assert torch.allclose(got, found[0] if isinstance(found, tuple) else found, atol=1e-4)


def stock(tmp_path, backbone: dict):
    """A classifier of mmpretrain with random weights, and the options that name it."""
    register_all()
    model = dict(type='ImageClassifier', backbone=backbone,
                 head=dict(type='LinearClsHead', num_classes=2, in_channels=8))  # fmt: skip
    config = tmp_path / 'stock.py'
    steps = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=32), dict(type='PackInputs')]
    config.write_text(
        f"default_scope = 'mmpretrain'\nmodel = {model}\n"
        f'data_preprocessor = dict(mean={IMAGENET[0]}, std={IMAGENET[1]}, to_rgb=True)\n'
        f"test_dataloader = dict(dataset=dict(type='CustomDataset', pipeline={steps}))\n"
    )
    network = MODELS.build({**model, '_scope_': 'mmpretrain'}).eval()
    network.init_weights()
    return network, dict(weights=save(tmp_path / 'x.pth', network), config=str(config))


@pytest.mark.parametrize(('kind', 'own', 'extra'), [
    ('VisionTransformer', 'cls_token', 1),
    ('DistilledVisionTransformer', 'cls_token', 2),
    ('VisionTransformer', 'avg_featmap', 0),
])  # fmt: skip
def test_a_stock_vit_gives_its_class_token_and_patches(tmp_path, kind, own, extra):
    arch = dict(embed_dims=8, num_layers=1, num_heads=2, feedforward_channels=8)
    of_kind = dict(with_cls_token=False) if not extra else {}
    network, named = stock(
        tmp_path, dict(type=kind, arch=arch, img_size=32, patch_size=8, out_type=own, **of_kind)
    )
    encoder = find_encoder(**named)
    network.backbone.out_type = 'raw' if extra else 'featmap'
    with torch.no_grad():
        (found,) = network.backbone(normalised(pixels(), *IMAGENET))
    answer = encoder.answer(pixels())
    tokens = found if extra else found.flatten(2).transpose(1, 2)
    assert torch.allclose(answer.patches.flatten(1, 2), tokens[:, extra:], atol=1e-4)
    assert torch.allclose(answer.cls, tokens[:, 0], atol=1e-4) if extra else answer.cls is None


def test_channels_of_patches_are_no_tokens(tmp_path):
    """mmpretrain's MLP-Mixer gives [B, width, patches]."""
    arch = dict(embed_dims=8, num_layers=1, tokens_mlp_dims=8, channels_mlp_dims=8)
    _, named = stock(tmp_path, dict(type='MlpMixer', arch=arch, img_size=32, patch_size=8))
    with refused('MlpMixer', 'no map of features'):
        find_encoder(**named).answer(pixels())


@pytest.mark.parametrize('lost', ['pos_embed', 'cls_token', 'blocks.'])
def test_networks_of_timm_without_their_name_are_refused(tmp_path, lost):
    state = autoencoder(SIZE).state_dict()
    path = save(tmp_path / 'x.pth', {k: v for k, v in state.items() if not k.startswith(lost)})
    with refused('x.pth', lost, '--timm'):
        find_encoder(path)


def test_what_is_no_encoder(tmp_path):
    with pytest.raises(UserError, match='no weights file'):
        find_encoder(str(tmp_path / 'nothing.pth'))
    path = save(tmp_path / 'vit.pth', {
        k: v for k, v in encoder_state(read_weights(save(tmp_path / 'm.pth', autoencoder(SIZE))))
        .items() if not k.startswith('norm.')
    })  # fmt: skip
    with refused('final norm', '--config'):
        find_encoder(path)


def test_networks_of_timm(tmp_path):
    pytest.importorskip('g2sd_mm.distill.teachers.timm', reason='needs teachers of timm')
    import timm
    from safetensors.torch import save_file

    model = timm.create_model('vit_tiny_patch16_224', num_classes=0, dynamic_img_size=True).eval()
    save_file(model.state_dict(), tmp_path / 'timm.safetensors')
    encoder = find_encoder(str(tmp_path / 'timm.safetensors'), timm='vit_tiny_patch16_224')
    x = normalised(pixels(size=64), encoder.mean, encoder.std)
    with torch.no_grad():
        tokens = model.forward_features(x)
    answer = encoder.answer(pixels(size=64))
    assert torch.allclose(answer.cls, tokens[:, 0], atol=1e-4)
    assert torch.allclose(answer.patches.flatten(1, 2), tokens[:, 1:], atol=1e-4)


def test_too_little_memory_is_not_said_of_the_size(file):
    def features(images):
        raise torch.OutOfMemoryError

    encoder = replace(find_encoder(file[1]), features=features)
    with pytest.raises(torch.OutOfMemoryError):
        encoder.answer(pixels())
