"""How much a suite is on data of one's own, and what is too little for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from g2sd_mm.bench.suites.budget import amounts, refuse_too_few
from g2sd_mm.bench.suites.catalogue import DEMO, MINI
from g2sd_mm.bench.suites.data import OwnData, find_data
from g2sd_mm.bench.suites.derived import smoke
from g2sd_mm.bench.suites.plan import with_given_files
from g2sd_mm.runs.own_data import Source

from ...helpers import small_masks
from ...helpers.toys import image_folder, refused
from .test_handover import coco


def pets(images: int) -> OwnData:
    """Class folders of so many training images, which nobody reads."""
    root = Path('/data/pets')
    options = {'shapes': None, 'train_dataloader.dataset.dataset.data_root': f'{root}/train'}
    source = Source('cls', root, root / 'train', options, 'f', {f'{root}/train': images})
    return OwnData((source,), 'pets')


def said(data: OwnData) -> dict[str, str]:
    suite = data.apply(MINI)
    return dict(line.partition(': ')[::2] for line in amounts(suite, suite.select(), data))


def test_epochs_make_more_updates_of_more_images():
    lines = said(pets(64_000))
    assert lines['vitb_mae'] == (
        '60 passes over 64,000 images of /data/pets/train, 60,000 updates of 64'
    )
    assert lines['g2sd_vits_cls_labels10'] == (
        '100 passes over 6,400 images of /data/pets/train, 10,000 updates of 64'
    )


def test_the_whole_stands_beside_that_of_the_generated_data():
    (line,) = (line for line in said(pets(8_000)) if line.startswith('together'))
    assert line == (
        'together 2,944,000 images seen in a seed, and on the generated data 1,461,760'
    )
    suite = smoke(pets(8_000).apply(MINI))
    assert 'generated' not in list(amounts(suite, suite.select(), pets(8_000)))[-1]
    assert list(amounts(MINI, MINI.select()))[-1] == 'together 1,969,760 images seen in a seed'


def test_what_is_given_is_not_trained():
    rows = DEMO.select(task=['depth'])
    lines = list(amounts(with_given_files(DEMO, rows), rows))
    assert 'vitb_depth: given (the teacher of the mini suite), not trained' in lines
    whole, without = (int(told[-1].split()[1].replace(',', '')) for told in (
        list(amounts(DEMO, rows)), lines))  # fmt: skip
    assert whole - without == 60 * 62 * 64 + 3500 * 8  # of the autoencoder, and of the teacher


def test_sizes_are_what_training_finds(tmp_path):
    for split in ('train', 'val'):
        image_folder(tmp_path / 'pictures' / split, classes=2, each=3)
        coco(tmp_path / 'objects', f'{split}2017')
    (tmp_path / 'objects' / 'train2017' / 'unlabelled.jpg').write_bytes(b'')
    (tmp_path / 'pictures' / 'train' / 'notes.txt').write_text('')
    scenes = small_masks.write_data(tmp_path / 'scenes')
    data = find_data([str(tmp_path / name) for name in ('objects', 'pictures', 'scenes')])
    assert data.size(str(tmp_path / 'pictures' / 'train')) == 6
    assert data.size(f'{tmp_path}/objects/') == 4
    assert data.size(str(tmp_path / 'objects' / 'train2017')) == 5  # pre-training takes them all
    assert data.size(str(scenes)) == 3
    assert data.size('data/shapes') is None
    lines = said(data)
    assert lines['vits_scratch_maskrcnn'].endswith('1,500 updates of 8')  # counts in updates


@pytest.mark.parametrize('suite', [MINI, smoke(MINI)], ids=['mini', 'smoke'])
def test_less_than_a_step_is_refused(suite):
    """A run without a step would fail hours later, or leave random weights."""

    def check(images: int, **asked: list[str]) -> None:
        data = pets(images)
        own = data.apply(suite)
        refuse_too_few(own, own.select(**asked), data)

    check(631)
    with refused('/data/pets/train has 630 training images, too few for vits_scratch_cls_labels10,'
                 ' which needs 631 (64 in a step, one in 10 is used)', '--tables main'):
        check(630)
    check(64, table=['main'])
    with refused('63 training images, too few for vitb_mae, which needs 64 (64 in a step)'):
        check(63)


def test_runs_that_count_in_updates_need_no_whole_batch(tmp_path):
    for split in ('train', 'val'):
        image_folder(tmp_path / 'pictures' / split, classes=2, each=32)
        coco(tmp_path / 'objects', f'{split}2017')
    data = find_data([str(tmp_path / 'pictures'), str(tmp_path / 'objects')])
    suite = data.apply(MINI)
    refuse_too_few(suite, suite.select(table=['main']), data)
    alone = find_data([str(tmp_path / 'objects')])
    suite = alone.apply(MINI)
    with refused('train2017 has 4 training images, too few for vitb_mae'):
        refuse_too_few(suite, suite.rows, alone)
