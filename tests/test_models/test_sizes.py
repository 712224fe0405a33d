"""Named sizes: the published parameter counts, and what an unknown name is answered."""

from __future__ import annotations

import pytest

from g2sd_mm.devices import on_meta_device
from g2sd_mm.models.mae import MaskedAutoencoder
from g2sd_mm.models.sizes import (
    ENCODERS,
    DecoderSize,
    EncoderSize,
    decoder_size,
    encoder_size,
)

from ..helpers.toys import words

TEACHER_DIM, TEACHER_DECODER_DIM = 768, 512

# name of the published student -> its parameters beside a base teacher (exact where published so)
STUDENTS = {
    ('tiny', 'dec128d4b'): 7_534_400,
    ('tiny-12h', 'dec128d4b'): 7_534_400,
    ('tiny', 'dec64d4b'): 6_834_176,
    ('small', 'dec256d4b'): 26_452_352,
    ('small', 'dec192d4b'): 24_953_408,
    ('small', 'dec128d2b'): 23.45e6,
    ('small', 'dec128d4b'): 23.85e6,
    ('small', 'dec128d8b'): 24.64e6,
    ('small', 'dec256d2b'): 24.87e6,
    ('small', 'dec256d8b'): 29.61e6,
    ('small', 'dec512d2b'): 30.08e6,
    ('small', 'dec512d4b'): 36.38e6,
    ('small', 'dec512d8b'): 48.99e6,
    ('base', 'dec256d4b'): 90.98e6,
    ('base', 'dec512d4b'): 101.0e6,
}


def count(arch: str, decoder: str, **options: bool) -> int:
    with on_meta_device():
        model = MaskedAutoencoder(arch, decoder, **options)
    return sum(parameter.numel() for parameter in model.parameters())


def mlp(into: int, out: int) -> int:
    """Parameters of Linear(into, out), GELU, Linear(out, out)."""
    return into * out + out + out * out + out


@pytest.mark.parametrize('name', STUDENTS, ids='-'.join)
def test_a_published_student_is_ours_with_its_unused_parts(name):
    """Ours, the predictors, and the pixel head that the published student never trains."""
    arch, decoder = name
    dim, width = ENCODERS[arch].embed_dim, decoder_size(decoder).embed_dim
    unused_pixel_head = 2 * width + (width + 1) * 3 * 16 * 16
    predictors = mlp(dim, TEACHER_DIM) + mlp(width, TEACHER_DECODER_DIM)
    total = count(arch, decoder, pixel_head=False) + unused_pixel_head + predictors
    published = STUDENTS[name]
    if isinstance(published, int):
        assert total == published
    else:
        assert total == pytest.approx(published, abs=0.05e6 if published > 1e8 else 0.006e6)


def test_the_published_teacher_has_its_published_size():
    assert count('base', 'dec512d8b') == 111_907_840


@pytest.mark.parametrize(
    ('decoder', 'heads'),
    [('dec64d4b', 4), ('dec128d2b', 4), ('dec192d4b', 8), ('dec256d8b', 8), ('dec512d8b', 16)],
)
def test_decoder_heads_are_the_published_ones(decoder, heads):
    assert decoder_size(decoder).num_heads == heads


def test_huge_has_patches_of_14_pixels():
    assert encoder_size('huge') == EncoderSize(1280, 32, 16, patch_size=14)
    assert encoder_size('large') == EncoderSize(1024, 24, 16)


def test_a_size_may_be_given_in_full():
    size = dict(embed_dim=8, depth=1, num_heads=2)
    assert encoder_size(size) == encoder_size(EncoderSize(**size)) == EncoderSize(8, 1, 2, 16)
    assert decoder_size(size) == decoder_size(DecoderSize(**size)) == DecoderSize(8, 1, 2)


def test_an_unknown_arch_is_told_the_known_ones_and_the_nearest():
    with pytest.raises(ValueError, match=words("unknown arch 'smal'", 'tiny, ', "mean 'small'?")):
        encoder_size('smal')
    with pytest.raises(ValueError, match=r'known are tiny, .*demo-student$'):
        encoder_size('xyz')


@pytest.mark.parametrize('name', ['dec256', 'dec100d4b', '256d4b', 'dec256d4b2'])
def test_an_unknown_decoder_is_told_the_grammar(name):
    with pytest.raises(ValueError, match=words(repr(name), 'dec<width>d<depth>b', '64, ', '512')):
        decoder_size(name)
