"""What a run starts from is complete, or the run does not start."""

from __future__ import annotations

import pytest
import torch
from mmengine.registry import MODELS
from mmengine.runner import Runner
from timm.models import adapt_input_conv
from torch import nn

from g2sd_mm.checkpoints import CheckpointError, Weights, read_weights
from g2sd_mm.checkpoints.fill import fill, fill_start
from g2sd_mm.checkpoints.positions import grid_text
from g2sd_mm.distill.teachers.mae import MAETeacher
from g2sd_mm.models.mae import MAEPretraining
from g2sd_mm.models.positions import resize_positions

from ..helpers.runs import runner
from ..helpers.toys import (
    IMAGE,
    STUDENT,
    TEACHER,
    arch,
    autoencoder,
    classifier,
    distiller,
    save,
    words,
)
from ..test_distill.test_specific import specific


def filled_alike(own: torch.nn.Module, source: dict, names) -> bool:
    state = own.state_dict()
    return all(torch.equal(state[name], source[name]) for name in names)


@pytest.mark.parametrize('wrapped', [True, False])
def test_stage_1_starts_from_a_student(wrapped, tmp_path):
    source = distiller(seed=5)
    state = source.state_dict() if wrapped else source.student.state_dict()
    model = distiller(seed=1)
    fit = fill_start(model, save(tmp_path / 'x.pth', state))
    assert filled_alike(model.student, source.student.state_dict(), fit.loaded)
    assert fit.random == ()


def test_an_encoder_is_enough_for_an_autoencoder(tmp_path):
    model = MAEPretraining(**STUDENT)
    encoder = distiller(seed=5).deployable_state()
    fit = fill_start(model, save(tmp_path / 'x.pth', encoder))
    assert filled_alike(model.autoencoder, encoder, encoder)
    assert set(fit.random) == {
        name for name in model.autoencoder.state_dict() if name.startswith(('decoder_', 'mask_'))
    }


def test_stage_2_starts_from_the_student_alone(tmp_path):
    model, source = specific(seed=1), specific(seed=5)
    fill_start(model, save(tmp_path / 'x.pth', source.deployable_state()))
    assert filled_alike(model.student, source.student.state_dict(), source.student.state_dict())


def test_a_task_model_starts_from_one_of_its_own(tmp_path):
    model, source = classifier(seed=1), classifier(seed=5)
    fill_start(model, save(tmp_path / 'x.pth', source))
    assert filled_alike(model, source.state_dict(), source.state_dict())


@pytest.mark.parametrize(
    ('build', 'state', 'message'),
    [
        (classifier, lambda: distiller().deployable_state(),
         ('start of ImageClassifier', 'an encoder-only MAE', 'init_cfg.checkpoint=FILE')),
        (classifier, lambda: classifier(dim=24).state_dict(), ('of another size',)),
        (distiller, lambda: autoencoder(TEACHER).state_dict(),
         ('start of an autoencoder', 'a full masked', 'of another size')),
        (distiller, lambda: classifier().state_dict(), ('start of an autoencoder', 'unknown')),
        (specific, lambda: {'conv.weight': torch.zeros(1)}, ('a file of another model',)),
    ],
)
def test_whatever_else_is_refused_in_one_line(build, state, message, tmp_path):
    path = save(tmp_path / 'x.pth', state())
    model = build()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(CheckpointError, match=words('x.pth', *message)) as caught:
        fill_start(model, path)
    assert '\n' not in str(caught.value)
    assert filled_alike(model, before, before)


# In a run -----------------------------------------------------------------------------------------


def strict(start: str | None = None) -> list[dict]:
    return [dict(type='StrictLoadingHook', start=start)]


def run(folder, **changes) -> Runner:
    model = classifier(seed=1)
    return runner(folder, model, train_cfg=dict(by_epoch=True, max_epochs=1),
                  optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.0)), **changes)


def test_a_run_starts_from_the_file(tmp_path):
    source = classifier(seed=5)
    started = run(tmp_path, custom_hooks=strict(save(tmp_path / 'x.pth', source)))
    started.train()  # at a rate of zero
    assert filled_alike(started.model, source.state_dict(), source.state_dict())


def test_a_checkpoint_of_another_model_is_not_resumed(tmp_path):
    checkpoint = tmp_path / 'epoch_1.pth'
    save(checkpoint, classifier(dim=24))
    wrong = run(tmp_path, custom_hooks=strict(), resume=True, load_from=str(checkpoint))
    message = words('cannot go on from this checkpoint', 'ImageClassifier', 'load_from=FILE')
    with pytest.raises(CheckpointError, match=message) as caught:
        wrong.train()
    assert '\n' not in str(caught.value)


WIDE = (IMAGE, 2 * IMAGE)
OURS = {
    'G2SDViT': {},
    'G2SDViTDet': dict(pretrain_img_size=WIDE, window_size=2, global_blocks=(1,)),
    'G2SDViTSeg': dict(out_indices=(0, 1)),
}


def backbone(kind: str, **changes) -> nn.Module:
    cfg = dict(type=kind, arch=arch(16), img_size=WIDE, **OURS[kind])
    return MODELS.build({**cfg, **changes})


def load(model: nn.Module, path: str) -> None:
    fill(model, path, 'encoder')


@pytest.fixture
def square(tmp_path) -> str:
    return save(tmp_path / 'square.pth', distiller(seed=3).deployable_state())


@pytest.mark.parametrize('kind', OURS)
def test_a_square_file_gives_a_rectangular_backbone_resized_positions(kind, square):
    model, source = backbone(kind), read_weights(square).state
    load(model, square)
    wide = resize_positions(source['pos_embed'], (4, 4), (4, 8))
    assert torch.equal(model.pos_embed, wide)
    height, width = WIDE
    maps = model(torch.randn(2, 3, height, width))[0]
    assert maps.shape == ((2, 16) if kind == 'G2SDViT' else (2, 16, 4, 8))


def test_a_rectangular_file_is_taken_for_what_it_says(tmp_path):
    """16 patches are a square, or 2 x 8: the file knows."""
    source = autoencoder(STUDENT, img_size=(16, 64))
    state = source.state_dict()
    told = save(tmp_path / 'told.pth', state, grid='2x8')
    model = backbone('G2SDViT', img_size=(16, 64))
    load(model, told)
    assert torch.equal(model.pos_embed, source.pos_embed)
    assert grid_text(model) == grid_text(source) == '2x8'
    load(model, save(tmp_path / 'untold.pth', state))
    square = resize_positions(source.pos_embed, (4, 4), (2, 8))
    assert torch.equal(model.pos_embed, square)


def test_positions_of_no_known_grid_are_refused(tmp_path):
    path = save(tmp_path / 'x.pth', autoencoder(STUDENT, img_size=(24, 32)).state_dict())
    with pytest.raises(CheckpointError, match=words('x.pth', '12 patch positions', '4x8')):
        load(backbone('G2SDViT'), path)
    load(backbone('G2SDViT', img_size=(24, 32)), path)  # its own are


@pytest.mark.parametrize('text', [None, '', '4', '0x4', '-1x4', '4x', 'x', '4x4x4', 5, '999999x1'])
def test_what_is_no_grid_is_not_believed(text):
    assert Weights('x.pth', {}, {'grid': text}).grid is None


@pytest.mark.parametrize('channels', [1, 2, 4, 13])
@pytest.mark.parametrize('kind', OURS)
def test_the_first_layer_takes_other_channels_as_timm_does(kind, channels, square):
    model, source = backbone(kind, in_channels=channels), read_weights(square).state
    load(model, square)
    kernel = source['patch_embed.proj.weight']
    assert torch.equal(model.patch_embed.proj.weight, adapt_input_conv(channels, kernel))
    assert torch.equal(model.blocks[0].attn.qkv.weight, source['blocks.0.attn.qkv.weight'])


def test_a_grey_image_gives_what_it_gave_as_rgb(square):
    grey, colour = backbone('G2SDViT', in_channels=1).eval(), backbone('G2SDViT').eval()
    for model in (grey, colour):
        load(model, square)
    image = torch.randn(2, 1, *WIDE)
    assert torch.allclose(grey(image)[0], colour(image.expand(-1, 3, -1, -1))[0], atol=1e-5)


def test_other_channels_than_rgb_are_refused(tmp_path):
    path = save(tmp_path / 'x.pth', autoencoder(STUDENT, in_channels=4).state_dict())
    with pytest.raises(CheckpointError, match=words('patch_embed.proj.weight is 16x4x8x8')):
        load(backbone('G2SDViT', img_size=IMAGE), path)


def test_an_autoencoder_starts_from_a_square_rgb_one(tmp_path):
    source = autoencoder(STUDENT, seed=3)
    path = save(tmp_path / 'x.pth', source)
    model = MAEPretraining(**{**STUDENT, 'img_size': WIDE}, in_channels=4)
    random = model.autoencoder.decoder_pred.weight.clone()
    fit = fill_start(model, path)
    for name in ('pos_embed', 'decoder_pos_embed'):
        wide = resize_positions(getattr(source, name), (4, 4), (4, 8))
        assert torch.equal(getattr(model.autoencoder, name), wide)
    assert torch.equal(model.autoencoder.decoder_pred.weight, random)
    assert 'decoder_pred.weight' in fit.random
    assert model(torch.randn(2, 4, *WIDE), mode='loss')['loss'].isfinite()


def test_a_square_teacher_teaches_rectangular_images(tmp_path):
    source = autoencoder(TEACHER, seed=3)
    path = save(tmp_path / 'x.pth', source)
    size = {**TEACHER, 'img_size': WIDE}
    teacher = MAETeacher('decoder_blocks.1', checkpoint=path, **size).model
    wide = resize_positions(source.decoder_pos_embed, (4, 4), (4, 8))
    assert torch.equal(teacher.decoder_pos_embed, wide)
    same = MAETeacher('decoder_blocks.1', checkpoint=path, **TEACHER).model
    assert torch.equal(same.pos_embed, source.pos_embed)
    model = distiller(teacher={'img_size': WIDE, 'checkpoint': path}, img_size=WIDE)
    assert model(torch.randn(2, 3, *WIDE), mode='loss')['loss_tokens'].isfinite()
