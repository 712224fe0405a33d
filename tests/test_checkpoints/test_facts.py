"""What a file says of itself, and what it is told to be good for."""

from __future__ import annotations

import re

import pytest
import torch

from g2sd_mm.checkpoints import Kind, Weights
from g2sd_mm.checkpoints.facts import facts_of
from g2sd_mm.checkpoints.layouts import Family
from g2sd_mm.checkpoints.positions import transpose_positions
from g2sd_mm.checkpoints.uses import uses_of

from ..helpers.fake_checkpoints import BASE, FAKES, SMALL, TINY, Fake, Size, hollow_state
from ..helpers.toys import ROOT, TEACHER, autoencoder

every_fake = pytest.mark.parametrize('fake', FAKES.values(), ids=FAKES)


def weights_of(fake: Fake, size: Size = TINY, name: str = 'file.pth', **said) -> Weights:
    return Weights(f'/folder/{name}', hollow_state(fake.shapes(size)), **said)


@every_fake
def test_size_and_kind_are_seen_in_every_layout(fake):
    facts = facts_of(weights_of(fake))
    assert facts.kind is fake.kind
    assert facts.family is not None
    assert (facts.size['width'], facts.size['depth'], facts.size['patch']) == (192, 12, 16)
    assert facts.size['image'] == 224
    if facts.family is not Family.MAE:
        assert facts.size['classes'] == (80 if facts.family is Family.DETECTOR else 1000)
    if 'decoder width' in facts.size:
        assert (facts.size['decoder width'], facts.size['decoder depth']) == (128, 4)


def test_numbers_are_counted():
    state = {'conv.weight': torch.ones(2, 3), 'conv.bias': torch.zeros(2, dtype=torch.float16)}
    facts = facts_of(Weights('x.pth', state))
    assert (facts.tensors, facts.elements, facts.bytes) == (2, 8, 28)
    assert facts.dtypes == {'float32': 1, 'float16': 1}
    assert facts.kind is Kind.UNKNOWN
    assert facts.notes == ()


def test_heads_are_told_where_something_shows_them():
    assert facts_of(weights_of(FAKES['detectron2'])).size['heads'] == 3
    assert facts_of(weights_of(FAKES['segmentor'])).size['heads'] == 3
    assert 'heads' not in facts_of(weights_of(FAKES['mae_full'])).size
    said = weights_of(FAKES['hf_vit'], config={'num_attention_heads': 6})
    assert facts_of(said).size['heads'] == 6


@pytest.mark.parametrize(
    ('name', 'said'),
    [
        ('mae_visualize_vit_base.pth', {}),
        ('weights.pth', {'meta': {'norm_pix': False}}),
        ('checkpoint-799.pth', {'args': {'norm_pix_loss': False}}),
    ],
)
def test_an_autoencoder_of_raw_pixels_is_called_that(name, said):
    facts = facts_of(weights_of(FAKES['mae_full'], name=name, **said))
    assert facts.title.startswith('an MAE trained on raw pixels (a "visualize" file)')
    assert 'mae_pretrain_vit_base_full.pth' in facts.notes[0]


def test_other_files_are_not_called_that():
    for name, said in (('mae_finetuned', {'args': {'norm_pix_loss': False}}), ('mae_full', {})):
        facts = facts_of(weights_of(FAKES[name], **said))
        assert facts.title == facts.kind.title
        assert not facts.notes


def test_what_to_know_before_use_is_noted():
    assert 'cannot teach stage 1' in facts_of(weights_of(FAKES['mae_encoder'])).notes[0]
    assert '--side teacher' in facts_of(weights_of(FAKES['seg_distiller'])).notes[0]
    mixed_up = Weights('x.pth', transpose_positions(autoencoder(TEACHER).state_dict()))
    assert 'transposed' in facts_of(mixed_up).notes[0]
    odd = weights_of(FAKES['timm'])
    odd.state['head.extra'] = torch.zeros(1)
    assert 'head.extra' in facts_of(odd).notes[0]


# Uses ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize('size', [TINY, BASE, SMALL], ids=['tiny', 'base', 'small'])
@every_fake
def test_every_command_names_a_config_that_is_there(fake, size):
    for _, command in uses_of(facts_of(weights_of(fake, size)), 'my file.pth'):
        assert "'my file.pth'" in command
        for config in re.findall(r'configs/\S+', command):
            assert (ROOT / config).is_file(), config
        if size is SMALL:
            assert 'configs/' not in command


def purposes(name: str, size: Size) -> list[str]:
    return [purpose for purpose, _ in uses_of(facts_of(weights_of(FAKES[name], size)), 'f.pth')]


def test_uses_depend_on_kind_and_size():
    assert purposes('mae_full', BASE) == ['teacher of stage 1', 'start of plain fine-tuning']
    assert purposes('mae_full', TINY) == ['start of plain fine-tuning']
    assert 'teacher of stage 1' not in purposes('mae_encoder', BASE)
    assert purposes('mae_encoder', TINY)[0] == 'start of stage 2'
    assert purposes('mae_finetuned', BASE) == ['teacher of stage 2', 'evaluation']
    assert purposes('our_distilled', TINY) == ['evaluation']
    assert purposes('our_classifier', TINY) == ['evaluation']
    assert purposes('detectron2', BASE)[0] == 'teacher of stage 2'
    assert purposes('hf_mae', BASE)[0] == 'teacher of stage 1'
    assert uses_of(facts_of(Weights('x', {'conv.weight': torch.zeros(1)})), 'x') == []


def test_every_kind_has_its_uses():
    for kind in Kind:
        facts = facts_of(Weights('x', {'conv.weight': torch.zeros(1)}))
        uses_of(type(facts)(**{**vars(facts), 'kind': kind}), 'x')


def test_images_that_are_not_square_are_told_as_far_as_they_are_known():
    state = autoencoder(TEACHER, img_size=(24, 32)).state_dict()
    assert facts_of(Weights('x.pth', state)).size['patches'] == 12
    known = facts_of(Weights('x.pth', state, {'grid': '3x4'})).size
    assert (known['image'], 'patches' in known) == ('24x32', False)
