"""What a config reads, and what of it is not there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from g2sd_mm.bench.suites.paper import PAPER
from g2sd_mm.bench.suites.plan import TESTING, TRAINING, lacking, missing_data
from g2sd_mm.published import content

CLASSIFIER = 'configs/imagenet/g2sd_vits_cls_nosd.py'
DETECTOR = 'configs/coco/vitb_maskrcnn.py'
SEGMENTOR = 'configs/ade20k/vitb_upernet.py'


@pytest.fixture
def data(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv('G2SD_DATA', str(tmp_path))
    return tmp_path


def put(*files: Path, text: str = 'x') -> None:
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


def below(root: Path, found: dict[str, str]) -> dict[str, str]:
    """Paths from ``root``, and what is said before how to lay the data out."""
    return {str(Path(p).relative_to(root)): how.partition('lay it')[0] for p, how in found.items()}


def test_a_folder_that_is_not_there_is_one_path(data):
    assert below(data, lacking(DETECTOR, TRAINING)) == {'coco': ''}
    (how,) = lacking(DETECTOR, TRAINING).values()
    assert how.startswith(f'lay it out as {data}/coco/{{train2017,val2017}}/*.jpg and {data}/coco/')


def test_each_part_of_coco_is_looked_for(data):
    (data / 'coco' / 'train2017').mkdir(parents=True)
    put(data / 'coco' / 'annotations' / 'instances_train2017.json', text='')
    assert below(data, lacking(DETECTOR, TRAINING)) == {
        'coco/annotations/instances_train2017.json': 'empty; ',
        'coco/train2017': 'empty; ',
        'coco/annotations/instances_val2017.json': '',
        'coco/val2017': '',
    }
    assert set(below(data, lacking(DETECTOR, TESTING))) == {
        'coco/annotations/instances_val2017.json', 'coco/val2017'
    }
    for split in ('train2017', 'val2017'):
        put(data / 'coco' / split / '1.jpg', data / f'coco/annotations/instances_{split}.json')
    assert lacking(DETECTOR, TRAINING) == lacking(DETECTOR, TESTING) == {}


def test_each_part_of_ade20k_is_looked_for(data):
    root = data / 'ade' / 'ADEChallengeData2016'
    put(root / 'images/training/1.jpg', root / 'annotations/training/1.png')
    put(root / 'images/validation/2.jpg')
    assert below(root, lacking(SEGMENTOR, TRAINING)) == {'annotations/validation': ''}


def test_class_folders_need_an_image(data):
    (data / 'imagenet' / 'val' / 'n01440764').mkdir(parents=True)
    put(data / 'imagenet' / 'train' / 'n01440764' / '1.JPEG')
    assert below(data, lacking(CLASSIFIER, TRAINING)) == {'imagenet/val': 'empty; '}


def test_the_numbering_of_a_robustness_set_may_have_no_images(data):
    put(data / 'imagenet-a' / 'n01498041' / '1.jpg')
    config = 'configs/robustness/imagenet_a.py'
    (data / 'imagenet' / 'val').mkdir(parents=True)
    assert below(data, lacking(config, TESTING)) == {'imagenet/val': 'empty; '}
    (data / 'imagenet' / 'val' / 'n01498041').mkdir()
    assert lacking(config, TESTING) == {}


def test_imagenet_c_needs_every_corruption_that_its_mean_is_of(data):
    names = list(content()['alexnet_corruption_errors']['values'])
    (data / 'imagenet' / 'val' / 'n01498041').mkdir(parents=True)
    put(data / 'imagenet-c' / names[0] / '1' / 'n01498041' / '1.JPEG')
    put(data / 'imagenet-c' / 'group' / names[1] / '1' / 'n01498041' / '1.JPEG')
    found = below(data, lacking('configs/robustness/imagenet_c.py', TESTING))
    assert found == {f'imagenet-c/{name}': '' for name in names[2:]}


def test_generated_data_are_never_missing(data):
    assert lacking('configs/shapes/vitb_cls.py', TRAINING) == {}


def test_rows_need_the_training_data_of_what_is_trained_for_them_alone(data):
    (teacher,) = PAPER.select(task=['det'], method=['teacher'])
    put(data / 'coco' / 'train2017' / '1.jpg')
    assert [line.partition(': ')[0] for line in missing_data(PAPER, [teacher])] == [
        f'{data}/imagenet/train',
        f'{data}/coco/annotations/instances_train2017.json',
        f'{data}/coco/annotations/instances_val2017.json',
        f'{data}/coco/val2017',
    ]
    published = PAPER.with_steps(
        lambda step: replace(step, file='there.pth', needs=()) if step.given else step
    )
    assert [line.partition(': ')[0] for line in missing_data(published, [teacher])] == [
        f'{data}/coco/annotations/instances_val2017.json',
        f'{data}/coco/val2017',
    ]
