"""Exceptions in words: no bare text, and what a person can mend ends with exit code 2."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.optim.scheduler import CosineRestartLR
from mmengine.registry import METRICS, MODELS
from torch.utils.data import DataLoader, Dataset

import g2sd_mm
from g2sd_mm.errors import RunError, UserError
from g2sd_mm.models.sizes import encoder_size
from g2sd_mm.unexpected import Account, account_of

from .helpers.toys import TEACHER, begun, classifier_cfg


def account(action: Any, *arguments: Any, **options: Any) -> Account:
    """Of the exception that a call ends in."""
    with pytest.raises(Exception) as caught:
        action(*arguments, **options)
    return account_of(caught.value)


def test_what_is_foreseen_is_said_as_it_is():
    assert account_of(UserError('say --x')) == Account('say --x', 2, foreseen=True)
    assert account_of(RunError('the disk is full')) == Account('the disk is full', 1, foreseen=True)
    assert account(Path('/no/such').read_text).code == 2


def test_a_file_where_a_folder_has_to_be_is_a_persons_to_move(tmp_path):
    (tmp_path / 'x').touch()
    found = account((tmp_path / 'x').mkdir, exist_ok=True)
    assert (found.code, found.foreseen) == (2, True) and str(tmp_path / 'x') in found.line


@pytest.mark.parametrize(
    ('code', 'said'),
    [
        ("{}['width']", 'KeyError: width'),
        ('[][3]', 'IndexError: list index out of range'),
        ('(3).shape', "AttributeError: 'int' object has no attribute 'shape'"),
        ('1 / 0', 'ZeroDivisionError: division by zero'),
        ('next(iter(()))', 'StopIteration'),
    ],
)
def test_a_bare_text_comes_with_kind_and_place(code, said):
    def fails() -> None:
        eval(code)

    found = account(fails)
    assert found.line.startswith(f'{said} (in ')
    assert not found.foreseen and found.code == 1


def test_an_assertion_without_words_says_what_must_hold():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    found = account(lambda: CosineRestartLR(optimizer, periods=[2]))
    assert '(eta_min is None) ^ (eta_min_ratio is None)' in found.line


def test_the_place_is_not_in_pythons_own_code():
    assert '(in tests/test_unexpected.py:' in account(lambda: json.loads('{')).line


class _Broken(Dataset):
    def __len__(self) -> int:
        return 1

    def __getitem__(self, i: int) -> Any:
        return {}['width']


def test_a_workers_exception_has_its_own_kind_and_place():
    with begun(DataLoader(_Broken(), num_workers=1)) as batches:
        found = account(list, batches)
    assert found.line.startswith("KeyError: 'width' (in tests/test_unexpected.py:")


def test_a_sentence_of_this_package_is_a_persons_to_read():
    found = account(encoder_size, 'enormous')
    assert found.code == 2 and found.foreseen
    assert found.line.startswith("unknown arch 'enormous': known are")


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        ({'type': 'ImageClasifier'}, ('ImageClasifier', 'model')),
        ({'heads': 3}, ('ImageClassifier (model)', "'heads'")),
        ({'train_config': None}, ('ImageClassifier (model)', 'did you mean train_cfg, not')),
        ({'neck': {'type': 'NoNeck'}}, ('NoNeck',)),
        ({'neck': {}}, ('type',)),
    ],
)
def test_a_part_that_cannot_be_built_is_named_and_the_configs_fault(change, words):
    g2sd_mm.register_all()
    found = account(MODELS.build, {**classifier_cfg(), **change})
    assert found.code == 2
    assert all(word in found.line for word in words), found.line


def test_an_argument_that_a_part_hands_on_is_corrected_too():
    g2sd_mm.register_all()
    found = account(MODELS.build, dict(type='MAEPretraining', **TEACHER, in_chanels=4))
    assert 'MAEPretraining (model)' in found.line
    assert 'did you mean in_channels, not in_chanels?' in found.line


@pytest.mark.parametrize(
    ('error', 'code'),
    [
        (ImportError('libx.so: failed to map segment from shared object'), 2),
        (MemoryError(), 1),
    ],
)
def test_too_little_memory_is_said_with_what_to_do(error, code):
    def fails() -> None:
        raise error

    found = account(fails)
    assert found.code == code
    assert 'a machine with more memory' in found.line


def test_a_named_module_that_is_not_there_is_the_configs_fault():
    found = account(__import__, 'no_such_module_of_mine')
    assert found.code == 2 and 'no_such_module_of_mine' in found.line


def coco(path: Path, lacking: str) -> str:
    """A file of one object without one of its entries."""
    thing = dict(id=1, image_id=1, category_id=1, iscrowd=0, bbox=[1, 1, 5, 5], area=25.0)
    thing['segmentation'] = [[1, 1, 6, 1, 6, 6]]
    del thing[lacking]
    content = dict(
        images=[dict(id=1, width=9, height=9, file_name='a.png')],
        categories=[dict(id=1, name='thing')],
        annotations=[thing],
    )
    path.write_text(json.dumps(content))
    return str(path)


@pytest.mark.parametrize('lacking', ['iscrowd', 'category_id', 'image_id'])
def test_an_annotation_that_lacks_an_entry_names_it_and_the_file(tmp_path, lacking):
    """The same with and without a library of this project around the readers."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    path = coco(tmp_path / 'truth.json', lacking)

    def evaluate() -> None:
        truth = COCO(path)
        found = [dict(image_id=1, category_id=1, bbox=[1, 1, 5, 5], score=0.9)]
        COCOeval(truth, truth.loadRes(found), 'bbox').evaluate()
        truth.getAnnIds(catIds=[1], iscrowd=False)
        truth.getAnnIds(iscrowd=False)

    found = account(evaluate)
    assert found.code == 2
    assert f'has no "{lacking}": add it' in found.line


def test_samples_without_a_label_are_said_to_be():
    import mmpretrain.evaluation  # noqa: F401
    from mmpretrain.structures import DataSample

    metric = METRICS.build(dict(type='mmpretrain.Accuracy'))
    sample = DataSample().set_pred_score(torch.ones(3)).to_dict()
    found = account(metric.process, {}, [sample])
    assert found.code == 2 and 'with_label=True' in found.line

    g2sd_mm.register_all()
    model = MODELS.build(classifier_cfg())
    found = account(model.loss, torch.zeros(1, 3, 32, 32), [DataSample()])
    assert found.code == 2 and 'with_label=True' in found.line
