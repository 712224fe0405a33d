"""All data of a run follow one order of classes, or the run is refused."""

from __future__ import annotations

import pytest
from mmengine.registry import DATASETS, DefaultScope

from g2sd_mm.agreement.data import agree_on_classes, clean_names, comparable, difference
from g2sd_mm.config.parts import LOADERS, innermost_datasets

from ..helpers.toys import config, refused
from .data import classification, coco, folders

TRAIN, VAL, TEST = LOADERS
NAMES = ('blue', 'green', 'red')


def labels(cfg, loader: str) -> dict[str, int]:
    """File name without its number -> label, of the data set that the loader reads."""
    (dataset,) = innermost_datasets(cfg[loader].dataset)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        data = DATASETS.build(dataset)
    names = data.metainfo['classes']
    found = {}
    for info in map(data.get_data_info, range(len(data))):
        label = info['gt_label']
        name = info['img_path'].rpartition('/')[2].partition('_')[0]
        assert found.setdefault(name, label) == label
        assert names[label] == name or data.metainfo.get('by_position')
    return found


# Class folders ------------------------------------------------------------------------------------


def test_folders_that_agree_are_left_alone(tmp_path):
    train, val = folders(tmp_path / 'train'), folders(tmp_path / 'val')
    cfg = classification(train, val)
    before = cfg.pretty_text
    agreed = agree_on_classes(cfg, (TRAIN, VAL))
    assert (agreed.classes, agreed.notes) == (NAMES, ())
    assert cfg.pretty_text == before
    assert labels(cfg, VAL) == {'blue': 0, 'green': 1, 'red': 2}


def test_a_validation_without_a_class_is_labelled_by_name(tmp_path):
    cfg = classification(folders(tmp_path / 'train'), folders(tmp_path / 'val', ['green', 'red']))
    agreed = agree_on_classes(cfg, (TRAIN, VAL))
    assert agreed.classes == NAMES
    (note,) = agreed.notes
    assert f'{tmp_path}/val has no folder for 1 of 3 classes (blue)' in note
    assert labels(cfg, VAL) == {'green': 1, 'red': 2}


def test_the_configs_order_counts_for_folders_too(tmp_path):
    order = ('red', 'blue', 'green')
    cfg = classification(folders(tmp_path / 'train'), folders(tmp_path / 'val'), classes=order)
    agree_on_classes(cfg, (TRAIN, VAL))
    for loader in (TRAIN, VAL):
        assert labels(cfg, loader) == {'red': 0, 'blue': 1, 'green': 2}


def test_the_order_of_the_weights_is_above_that_of_the_config(tmp_path):
    cfg = classification(None, folders(tmp_path / 'val'), classes=('red', 'blue', 'green'))
    agree_on_classes(cfg, (TEST,), NAMES, 'weights.json')
    assert labels(cfg, TEST) == {'blue': 0, 'green': 1, 'red': 2}
    agree_on_classes(cfg, (TEST,), ('green', 'red', 'blue'), 'weights.json')
    assert labels(cfg, TEST) == {'green': 0, 'red': 1, 'blue': 2}


def test_a_folder_of_another_name_is_refused_and_the_advice_works(tmp_path):
    val = folders(tmp_path / 'val', ['amber', 'blue', 'green'])
    cfg = classification(folders(tmp_path / 'train'), val)
    with refused(
        f'{val} has 3 classes (amber, blue, green)',
        f'{tmp_path}/train has 3 classes (blue, green, red)',
        "class 0 is 'amber' and 'blue'", 'classes_by_position=True',
    ):
        agree_on_classes(cfg, (TRAIN, VAL))
    cfg.classes_by_position = True
    (note,) = agree_on_classes(cfg, (TRAIN, VAL)).notes
    assert 'classes_by_position' in note
    assert labels(cfg, VAL) == {'amber': 0, 'blue': 1, 'green': 2}
    cfg.classes_by_position = False
    (val / 'amber').rename(val / 'red')
    assert agree_on_classes(cfg, (TRAIN, VAL)).notes == ()


def test_training_needs_all_classes(tmp_path):
    train = folders(tmp_path / 'train', ['blue', 'green'])
    cfg = classification(train, folders(tmp_path / 'val'), classes=NAMES)
    with refused(f'{train} has 2 classes', 'the config has 3', 'missing class folders'):
        agree_on_classes(cfg, (TRAIN, VAL))


def test_a_list_of_images_has_numbers_alone(tmp_path):
    cfg = classification(
        folders(tmp_path / 'train'), folders(tmp_path / 'val'),
        **{'val_dataloader.dataset.ann_file': 'list.txt'},
    )
    (note,) = agree_on_classes(cfg, (TRAIN, VAL)).notes
    assert 'list.txt' in note
    assert 'count by number alone' in note
    cfg.val_dataloader.dataset.metainfo = dict(classes=('green', 'blue', 'red'))
    with refused('list.txt has 3 classes (green, blue, red)', "class 0 is 'green' and 'blue'"):
        agree_on_classes(cfg, (TRAIN, VAL))


def test_the_parts_of_joined_data_are_all_asked(tmp_path):
    cfg = classification(folders(tmp_path / 'train'), folders(tmp_path / 'val'))
    single = cfg.val_dataloader.dataset
    other = {**single, 'data_root': str(folders(tmp_path / 'more', ['red', 'violet']))}
    cfg.val_dataloader.dataset = dict(type='ConcatDataset', datasets=[single, other])
    with refused(f'{tmp_path}/more has 2 classes (red, violet)'):
        agree_on_classes(cfg, (TRAIN, VAL))


# Annotations --------------------------------------------------------------------------------------


def detection(train, val, **options):
    return config(
        'shapes/g2sd_vits_maskrcnn_nosd.py',
        shapes=None,
        **{
            'train_dataloader.dataset.dataset.ann_file': str(train),
            'val_dataloader.dataset.ann_file': str(val),
            **options,
        },
    )


def boxes(cfg, loader: str) -> dict[int, str]:
    """Label -> name that the annotations give the same box."""
    (dataset,) = innermost_datasets(cfg[loader].dataset)
    with DefaultScope.overwrite_default_scope('mmdet'):
        data = DATASETS.build({**dataset, 'pipeline': []})
    names = {5: 'apple', 4: 'plum'}  # by the box's left edge
    found = {i['bbox_label']: names[i['bbox'][0]] for i in data.get_data_info(0)['instances']}
    assert all(data.metainfo['classes'][label] == name for label, name in found.items())
    return found


@pytest.mark.parametrize('kind', ['CheckedCocoDataset', 'CocoDataset'])
def test_categories_follow_the_names_whatever_their_order(tmp_path, kind):
    train = coco(tmp_path / 'train.json', [(1, 'apple'), (2, 'plum')])
    val = coco(tmp_path / 'val.json', [(2, 'plum'), (1, 'apple')])
    for order in (('apple', 'plum'), ('plum', 'apple')):
        cfg = detection(train, val, classes=order)
        cfg.train_dataloader.dataset.dataset.type = cfg.val_dataloader.dataset.type = kind
        assert agree_on_classes(cfg, (TRAIN, VAL)).notes == ()
        for loader in (TRAIN, VAL):
            assert boxes(cfg, loader) == dict(enumerate(order))


def test_a_detector_is_judged_in_the_order_of_its_weights(tmp_path):
    val = coco(tmp_path / 'val.json', [(1, 'apple'), (2, 'plum')])
    cfg = detection(val, val, classes=('apple', 'plum'))
    (note,) = agree_on_classes(cfg, (VAL,), ('plum', 'apple'), 'weights.json').notes
    assert 'another order than weights.json' in note
    assert boxes(cfg, VAL) == {0: 'plum', 1: 'apple'}
    with refused('weights.json has 2 classes (apple, pear)', "class 0 is 'plum' and 'apple'"):
        agree_on_classes(cfg, (VAL,), ('apple', 'pear'), 'weights.json')


# Label maps ---------------------------------------------------------------------------------------


def test_masks_have_numbers_and_must_have_the_same_order(tmp_path):
    cfg = config('shapes/g2sd_vits_upernet_nosd.py', shapes=None)
    assert agree_on_classes(cfg, (TRAIN, VAL)).notes == ()
    names = list(cfg.val_dataloader.dataset.metainfo.classes)
    names[1], names[2] = names[2], names[1]
    cfg.val_dataloader.dataset.metainfo = dict(classes=tuple(names))
    with refused("class 1 is 'crescent' and 'arrow'", 'Number the labels alike'):
        agree_on_classes(cfg, (TRAIN, VAL))


def test_masks_of_a_known_set_are_mapped_by_name():
    cfg = config('ade20k/g2sd_vits_upernet_nosd.py')
    cfg.train_dataloader.dataset.dataset.metainfo = dict(classes=('wall', 'sky'))
    cfg.val_dataloader.dataset.metainfo = dict(classes=('sky', 'wall'))
    (note,) = agree_on_classes(cfg, (TRAIN, VAL)).notes
    assert 'labels follow the names' in note
    assert cfg.val_dataloader.dataset.metainfo.classes == ('wall', 'sky')


def test_a_data_set_that_maps_its_own_classes_takes_no_others():
    cfg = config('ade20k/g2sd_vits_upernet_nosd.py', classes=('wall', 'apple'))
    with refused("'apple' is none of them", "type='BaseSegDataset'"):
        agree_on_classes(cfg, (TRAIN, VAL))
    for dataset in (cfg.train_dataloader.dataset.dataset, cfg.val_dataloader.dataset):
        dataset.update(type='BaseSegDataset', reduce_zero_label=False)
    assert agree_on_classes(cfg, (TRAIN, VAL)).classes == ('wall', 'apple')


def test_masks_without_names_are_said_once():
    cfg = config('ade20k/custom_masks_vits_upernet.py')
    notes = agree_on_classes(cfg, (TRAIN, VAL)).notes
    assert len(notes) == 2  # one for each folder
    assert all('count by number alone' in note for note in notes)


@pytest.mark.parametrize(
    ('first', 'second', 'at'),
    [
        (('a', 'b', 'c'), ('a', 'c', 'b'), "class 1 is 'b' and 'c'"),
        (('a', 'b'), ('a', 'b', 'c'), "class 2 is missing and 'c'"),
    ],
)
def test_both_lists_and_the_first_difference_are_named(first, second, at):
    said = difference(first, second, ('here', 'there'))
    assert f'here has {len(first)} classes ({", ".join(first)})' in said
    assert f'there has {len(second)} classes ({", ".join(second)})' in said
    assert said.endswith(f'the first difference: {at}')


def test_names_from_a_file_are_text_without_control_characters():
    assert clean_names(['cat', 'a\x1b[2Jb']) == ('cat', 'a?[2Jb')
    assert clean_names(['cat', 3]) == clean_names('cat') == clean_names(None) == ()


def test_wordnet_numbers_and_words_cannot_be_compared():
    assert comparable(('n01440764',), ('n01443537',))
    assert not comparable(('n01440764',), ('tench',))
    assert not comparable((), ('tench',))
