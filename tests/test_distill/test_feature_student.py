"""Stage 1 without masking: networks of timm, and our ViT without a decoder."""

from __future__ import annotations

import pytest
import timm
import torch
from mmengine.registry import MODELS
from torch import nn

from g2sd_mm.checkpoints import CheckpointError
from g2sd_mm.checkpoints.fill import fill_start as load_start
from g2sd_mm.distill import Features, FrozenTeacher, SpecificDistiller
from g2sd_mm.models.backbones import G2SDViT
from g2sd_mm.models.masking import random_masking

from ..helpers.toys import (
    IMAGE,
    PATCHES,
    STUDENT,
    TEACHER,
    arch,
    autoencoder,
    classifier,
    distiller,
    images,
    refused,
    save,
    words,
)
from ..test_models.test_timm_backbone import FAMILIES, SIDE, backbone, whole

WIDTH = 6
LOSS = dict(
    loss_patches=dict(
        type='SmoothL1FeatureLoss',
        inputs=dict(student='student.patches', teacher='teacher.patches'),
    )
)


@MODELS.register_module()
class ToyPatches(FrozenTeacher):
    """Means of colours, on a grid of ``patch`` pixels, and their mean."""

    def __init__(self, patch: int = 32) -> None:
        network = nn.Sequential(nn.AvgPool2d(patch), nn.Conv2d(3, WIDTH, 1))
        super().__init__(network)
        self.width = WIDTH

    def answer(self, images, view):
        patches = self.model(images).movedim(1, -1)
        return Features(patches.mean(dim=(1, 2)), patches)


def student(family: str = 'convnext', seed: int = 0, **changes) -> nn.Module:
    name, options = FAMILIES[family]
    torch.manual_seed(seed)
    return MODELS.build({**dict(type='FeatureStudent', model=name, **options), **changes})


def taught(
    family: str = 'convnext', seed: int = 0, width: int = 32, teacher: dict | None = None, **changes
):
    name, options = FAMILIES[family]
    torch.manual_seed(seed)
    return SpecificDistiller(
        student={**dict(type='FeatureStudent', model=name, **options), **changes},
        teacher=teacher or dict(type='ToyPatches'),
        taps=dict(patches=dict(student='patches'), cls=dict(student='cls')),
        adapters=dict(patches=dict(type='MlpAdapter', in_channels=width, out_channels=WIDTH)),
        losses=LOSS,
    )


@pytest.mark.parametrize('family', FAMILIES)
def test_a_map_is_the_last_that_timm_gives_channels_last(family):
    model = student(family).eval()
    pixels = images(2, SIDE)
    with torch.no_grad():
        (expected,) = model.network.forward_intermediates(
            pixels, indices=1, intermediates_only=True
        )
        assert torch.equal(model(pixels), expected.permute(0, 2, 3, 1))
    assert model(pixels, mode='loss') == {}


@pytest.mark.parametrize('family', FAMILIES)
def test_what_is_trained_has_a_gradient_and_the_rest_none_to_wait_for(family):
    model = student(family, level=-2).train()
    model(images(2, SIDE)).square().mean().backward()
    trained = {n for n, p in model.named_parameters() if p.requires_grad}
    assert trained == {n for n, p in model.named_parameters() if p.grad is not None}
    assert len(trained) < len(list(model.parameters()))


@pytest.mark.parametrize('family', FAMILIES)
def test_its_weights_are_those_of_timms_network(family, tmp_path):
    model = student(family)
    state = model.deployable_state()
    network = whole(family)
    network.load_state_dict(state, strict=True)
    assert set(state) == set(network.state_dict())
    file = save(tmp_path / 'weights.pth', state)
    started = backbone(family, seed=9, init_cfg=dict(checkpoint=file)).eval()
    with torch.no_grad():
        found = started(images(2, SIDE))[0].permute(0, 2, 3, 1)
    torch.testing.assert_close(found, model.eval()(images(2, SIDE)), rtol=1e-5, atol=1e-6)


def test_it_learns_what_the_teacher_says():
    model = taught().train()
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=3e-3)
    losses = []
    for _ in range(30):
        loss = model(images(4, SIDE), mode='loss')['loss_patches']
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize('patch', [64, 16, 8])
def test_the_grid_of_the_teacher_may_be_another(patch):
    model = taught(teacher=dict(type='ToyPatches', patch=patch)).train()
    loss = model(images(2, SIDE), mode='loss')['loss_patches']
    loss.backward()
    assert loss > 0
    assert model.student.network.stem[0].weight.grad.abs().sum() > 0


def test_the_class_token_can_be_compared_with_the_mean():
    model = taught().eval()
    with model.distillation.student_taps.record() as heard:
        model.student(images(2, SIDE), mode='loss')
    assert heard['patches'].shape == (2, 2, 2, 32)
    torch.testing.assert_close(heard['cls'], heard['patches'].mean(dim=(1, 2)))


@pytest.mark.parametrize('level', [-2, 2])
def test_a_level_can_be_chosen(level):
    assert student(level=level)(images(1, SIDE)).shape == (1, 4, 4, 24)
    assert student(level=level).stride == 16 and student().stride is None


def test_a_network_keeps_its_norm_if_asked():
    model = student('swin', norm=True).eval()
    with torch.no_grad():
        expected = model.network.forward_features(images(2, SIDE))
        torch.testing.assert_close(model(images(2, SIDE)), expected)
    assert all(p.requires_grad for p in model.network.norm.parameters())


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(model='convnet_atto'), ("model.model='convnet_atto'", "'convnext_atto'")),
        (dict(level=4), ('model.level=(4,)', '0 to 3')),
        (dict(num_classes=3), ('model.num_classes',)),
    ],
)
def test_what_timm_does_not_have_is_refused(changes, message):
    with refused(*message):
        student(**changes)


# Where it starts ----------------------------------------------------------------------------------


def test_it_starts_from_a_file_of_timm(tmp_path):
    source = whole(num_classes=5)
    model = taught(seed=3)
    load_start(model, save(tmp_path / 'x.pth', source))
    state = source.state_dict()
    own = model.student.network.state_dict()
    assert own and all(torch.equal(own[name], state[name]) for name in own)


def test_it_goes_on_from_a_run_with_its_adapter(tmp_path):
    source, model = taught(seed=5), taught(seed=1)
    load_start(model, save(tmp_path / 'epoch_2.pth', source.state_dict()))
    state = source.state_dict()
    assert all(torch.equal(t, state[n]) for n, t in model.state_dict().items())
    other = taught(seed=1)
    load_start(other, save(tmp_path / 'weights.pth', source.deployable_state()))
    own = other.state_dict()
    assert not torch.equal(own[ADAPTER], state[ADAPTER])
    assert torch.equal(other.student.network.stem[0].weight, source.student.network.stem[0].weight)


ADAPTER = 'distillation.adapters.patches.fc1.weight'


def test_another_network_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=words('x.pth', 'FeatureStudent convnext_atto')):
        load_start(taught(), save(tmp_path / 'x.pth', whole('resnet')))


# Our own ViT, without masking ---------------------------------------------------------------------

UNMASKED = dict(decoder=None, mask_ratio=0, arch=arch(16, 2), img_size=IMAGE)


def unmasked(seed: int = 0, **changes) -> nn.Module:
    torch.manual_seed(seed)
    model = MODELS.build({**dict(type='MaskedStudent', **UNMASKED), **changes})
    model.init_weights()
    return model


def test_a_vit_without_a_decoder_gives_its_tokens_in_raster_order():
    model = unmasked().eval()
    plain = G2SDViT(arch(16, 2), IMAGE, out_type='cls_token').eval()
    plain.load_state_dict(model.deployable_state(), strict=True)
    tokens = model(images())
    expected, _ = plain.embed(images())
    for block in plain.blocks:
        expected = block(expected)
    torch.testing.assert_close(tokens, plain.norm(expected), rtol=1e-5, atol=1e-6)
    assert tokens.shape == (2, 1 + PATCHES, 16)
    assert not [name for name in model.state_dict() if 'decoder' in name or 'mask' in name]


def test_all_of_it_is_trained():
    model = unmasked().train()
    model(images()).square().mean().backward()
    learnt = {n for n, p in model.named_parameters() if p.requires_grad}
    assert learnt == {n for n, p in model.named_parameters() if p.grad is not None}


def test_it_starts_from_an_autoencoder_without_its_decoder(tmp_path):
    source = autoencoder(STUDENT)
    model = unmasked(seed=3)
    load_start(model, save(tmp_path / 'x.pth', source))
    state = source.state_dict()
    assert all(torch.equal(t, state[n]) for n, t in model.state_dict().items())


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(mask_ratio=0.75), ('model.mask_ratio=0.75', 'model.decoder=None',
                                 'model.mask_ratio=0')),
        (dict(decoder=STUDENT['decoder'], decoder_attention='cross'),
         ('model.mask_ratio=0', "model.decoder_attention='cross'", 'model.decoder=None')),
    ],
)  # fmt: skip
def test_what_nobody_would_predict_is_refused(changes, message):
    with refused(*message):
        unmasked(**changes)


def test_the_adapter_of_a_masked_run_goes_on_with_its_student(tmp_path):
    """At another resolution: positions are resized."""
    source = distiller(seed=5)
    large = {**STUDENT, 'img_size': 2 * IMAGE}
    teacher = dict(random_weights=True, img_size=2 * IMAGE)
    model = distiller(seed=1, teacher=teacher, **large)
    load_start(model, save(tmp_path / 'epoch_2.pth', source.state_dict()))
    state, own = source.state_dict(), model.state_dict()
    for name in own:
        if not name.endswith('pos_embed'):
            assert torch.equal(own[name], state[name]), name
    assert own['student.decoder_pos_embed'].shape[1] == 1 + 4 * PATCHES
    losses = model.losses(
        images(2, 2 * IMAGE), view=random_masking(torch.rand(2, 4 * PATCHES), 0.75)
    )
    assert torch.isfinite(losses['loss_tokens'])


# A whole encoder as teacher -----------------------------------------------------------------------


def encoder_teacher(file: str | None, **changes):
    cfg = dict(type='EncoderTeacher', arch=TEACHER['arch'], img_size=IMAGE, checkpoint=file)
    return MODELS.build({**cfg, **changes})


@pytest.mark.parametrize('size', [IMAGE, 2 * IMAGE])
def test_the_encoder_of_an_autoencoder_teaches_whole_images(size, tmp_path):
    source = autoencoder().eval()
    teacher = encoder_teacher(save(tmp_path / 'mae.pth', source))
    answer = teacher(images(2, size))
    side = size // 8
    assert answer.patches.shape == (2, side, side, 24) and answer.cls.shape == (2, 24)
    assert (teacher.width, teacher.source) == (24, str(tmp_path / 'mae.pth'))
    if size == IMAGE:
        everything = random_masking(torch.arange(PATCHES).expand(2, -1), 0.0)
        expected = source.encode(images(2, size), everything).latent
        torch.testing.assert_close(answer.patches.flatten(1, 2), expected[:, 1:])
        torch.testing.assert_close(answer.cls, expected[:, 0])
    assert not any(p.requires_grad for p in teacher.model.parameters())


def test_a_distillation_token_of_the_teacher_is_looked_at(tmp_path):
    source = classifier('dist_token', dim=24).eval()
    torch.nn.init.normal_(source.backbone.dist_token)
    teacher = encoder_teacher(save(tmp_path / 'two.pth', source), arch=arch(24))
    answer = teacher(images(2))
    torch.testing.assert_close(answer.cls, source.backbone(images(2))[0][0].detach())
    assert answer.patches.shape == (2, IMAGE // 8, IMAGE // 8, 24)


def test_a_teacher_without_its_file_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=words('distillation.teacher.checkpoint=')):
        encoder_teacher(None)
    wrong = save(tmp_path / 'mae.pth', autoencoder(STUDENT))
    with pytest.raises(CheckpointError, match=words('mae.pth', 'of another size')):
        encoder_teacher(wrong)
    encoder_teacher(None, random_weights=True)


def test_timm_loads_what_timm_wrote_and_we_read(tmp_path):
    """The strict way back, by timm's own function."""
    model = student()
    file = tmp_path / 'weights.safetensors'
    from safetensors.torch import save_file

    save_file(model.deployable_state(), str(file))
    name, options = FAMILIES['convnext']
    network = timm.create_model(name, num_classes=0, checkpoint_path=str(file), **options)
    found, own = network.state_dict(), model.deployable_state()
    assert all(torch.equal(found[n], own[n]) for n in own)
