"""Lists of classes, folders under numbers, and images that are held out."""

from __future__ import annotations

import json

import pytest

from g2sd_mm.bench.suites.data import find_data
from g2sd_mm.data_layouts import Choices, find_layout, find_trainable
from g2sd_mm.data_layouts.copies import original
from g2sd_mm.data_layouts.holding_out import held_out
from g2sd_mm.errors import DataError
from g2sd_mm.image_files import files_below, folders_in

from ..helpers import exports
from ..helpers.toys import image_folder, words
from .test_exports import everybody_reads

LABELS = {f'p{i:02d}': 'cat' if i % 3 else 'dog' for i in range(12)}


def read(folder) -> dict[str, str]:
    """Name -> class folder."""
    return {p.stem.rpartition('__')[2]: p.parent.name for p in files_below(folder)}


@pytest.mark.parametrize('header', ['filename,label', 'id,breed', 'path,class'])
def test_a_list_is_read_with_its_classes(tmp_path, header):
    root = exports.class_list(tmp_path / 'pets', LABELS, header)
    layout = find_layout(root)
    assert layout.task == 'cls' and read(layout.splits[0].images) == LABELS
    choices = Choices(val_share=0.25)
    train, val = (find_trainable(root, choices).split(name) for name in ('train', 'val'))
    assert {**read(train.images), **read(val.images)} == LABELS
    assert sorted(read(val.images).values()) == ['cat', 'cat', 'dog']
    everybody_reads(root, 'cls', choices)


def test_other_lists(tmp_path):
    root = exports.class_list(tmp_path / 'pets', LABELS)
    file = root / 'labels.csv'
    lines = [f'images/{n}.png;{"val" if i < 4 else "train"};{c};{i}' for i, (n, c) in enumerate(
        LABELS.items())]
    file.write_text('image;split;animal;age\n' + '\n'.join(lines))
    with pytest.raises(DataError, match=words('--read-as column=animal', 'column=age')):
        find_layout(root)
    layout = find_layout(root, Choices(read_as={'column': 'animal'}))
    assert [split.name for split in layout.splits] == ['train', 'val']
    assert len(read(layout.split('val').images)) == 4
    rows = [f'images/{n}.png,{int(c == "cat")},{int(c == "dog")}' for n, c in LABELS.items()]
    file.write_text('filename,cat,dog\n' + '\n'.join(rows))
    assert read(find_layout(root).splits[0].images) == LABELS
    file.write_text(file.read_text().replace('p03.png,0,1', 'p03.png,1,1'))
    with pytest.raises(DataError, match=words('p03.png', '2 classes')):
        find_layout(root)
    file.write_text('filename,label\n' + ''.join(f'images/{n}.png,{c}\n' for n, c in (
        *LABELS.items(), ('p99', 'cat'))))
    with pytest.raises(DataError, match=words('labels.csv', 'p99.png')):
        find_layout(root)


def test_folders_that_are_called_otherwise(tmp_path):
    root = tmp_path / 'pets'
    for split, each in (('Training', 3), ('valid', 2)):
        image_folder(root / split, classes=2, each=each)
    image_folder(root / 'test', classes=1, each=2)
    for file in list(files_below(root / 'test')):
        file.rename(root / 'test' / file.name)
    (root / 'test' / 'class_0').rmdir()
    layout = find_layout(root)
    assert [(s.name, s.labelled) for s in layout.splits] == [
        ('train', True), ('val', True), ('test', False)
    ]  # fmt: skip
    assert find_data([str(root)]).sources[0].options['num_classes'] == 2


def test_a_class_may_be_called_like_a_split(tmp_path):
    image_folder(tmp_path / 'vehicles', classes=2, each=2)
    (tmp_path / 'vehicles' / 'class_0').rename(tmp_path / 'vehicles' / 'train')
    (split,) = find_layout(tmp_path / 'vehicles').splits
    assert {f.name for f in folders_in(split.images)} == {'train', 'class_1'}


def test_numbers_are_called_by_the_names_beside_them(tmp_path):
    root = tmp_path / 'pets'
    for split in ('train', 'val'):
        image_folder(root / split, classes=11, each=1)
        for folder in folders_in(root / split):
            folder.rename(folder.with_name(folder.name.removeprefix('class_')))
    names = [f'name{i}' for i in range(11)]
    (root / 'classes.json').write_text(json.dumps(dict(enumerate(names))))
    layout = find_layout(root)
    file = next(files_below(layout.split('train').images / 'name10'))
    assert original(file).split('/')[-2] == '10'
    assert find_data([str(root)]).sources[0].options['num_classes'] == 11
    (root / 'classes.json').write_text(json.dumps(names[:10]))
    with pytest.raises(DataError, match=words('class folder 10', 'names 10')):
        find_layout(root)


def test_what_is_held_out_stays_when_images_come():
    few = {f'{i}': str(i % 3) for i in range(300)}
    many = few | {f'x{i}': str(i % 3) for i in range(300)}
    out, more = held_out(few, 0.2, 0), held_out(many, 0.2, 0)
    assert len(out) == 60 and len(more) == 120
    assert [sum(few[n] == g for n in out) for g in '012'] == [20, 20, 20]
    assert len(out & more) > 0.6 * len(out)  # those of a plain shuffle would be a fifth
    assert held_out(few, 0.2, 1) != out == held_out(dict(reversed(few.items())), 0.2, 0)


def test_versions_of_a_picture_are_held_out_together():
    names = [f'{i}_jpg.rf.{i}{v}f' for i in range(8) for v in range(3)]
    out = held_out({f'train/{name}.jpg': '' for name in names}, 0.25, 0)
    pictures = {name.partition('.rf.')[0] for name in out}
    assert len(out) == 6 and len(pictures) == 2


def test_a_class_of_one_image_cannot_be_split(tmp_path):
    image_folder(tmp_path / 'pets', classes=2, each=1)
    with pytest.raises(DataError, match=words('class_0', 'has one image')):
        find_trainable(tmp_path / 'pets', Choices(val_share=0.2))


def listed(root, **tables: str):
    """Images that are called by numbers, and lists of them."""
    for i in range(6):
        exports.write_image(exports.Scene(f'{i}', '', (8, 8), ()), root / 'images' / f'{i}.png')
    for name, text in tables.items():
        (root / f'{name}.csv').write_text(text)
    return root


@pytest.mark.parametrize('head', [',filename,label', 'id,filename,label', ',image,label',
                                  'Unnamed: 0,filename,animal'])
def test_numbers_of_rows_are_no_images(tmp_path, head):
    ending = '' if 'image' in head else '.png'
    rows = [f'{i},{n}{ending},{"cat" if n < 3 else "dog"}' for i, n in enumerate((3, 1, 0, 2, 5))]
    root = listed(tmp_path / 'pets', labels='\n'.join([head, *rows]))
    assert read(find_layout(root).splits[0].images) == {
        f'{n}': 'cat' if n < 3 else 'dog' for n in (0, 1, 2, 3, 5)
    }


def test_two_columns_of_other_images_are_asked_for(tmp_path):
    rows = ''.join(f'{i},{i + 1},cat\n' for i in range(5))
    root = listed(tmp_path / 'pets', labels=f'first,second,label\n{rows}')
    with pytest.raises(DataError, match=words('labels.csv', "'first'", "'second'")):
        find_layout(root)
    same = ''.join(f'{i}.png,images/{i}.png,{"dog" if i else "cat"}\n' for i in range(5))
    (root / 'labels.csv').write_text(f'filename,path,animal\n{same}')
    assert read(find_layout(root).splits[0].images)['0'] == 'cat'


def test_an_image_is_in_one_list(tmp_path):
    table = 'file,label\n0.png,cat\n1.png,dog\n'
    root = listed(tmp_path / 'pets', train=table, val='file,label\n2.png,cat\n3,dog\n')
    assert [split.name for split in find_layout(root).splits] == ['train', 'val']
    (root / 'all.csv').write_text(table + '2.png,cat\n3.png,dog\n')  # of both
    assert [split.name for split in find_layout(root).splits] == ['train', 'val']
    (root / 'val.csv').write_text('file,label\nimages/1.png,dog\n2.png,cat\n')
    (root / 'all.csv').unlink()
    with pytest.raises(DataError, match=words('val.csv', 'images/1.png', 'train.csv')):
        find_layout(root)


def test_a_missing_image_of_a_list_has_no_substitute(tmp_path):
    root = tmp_path / 'pets'
    for split, names in (('train', 'abcd'), ('val', 'ef')):
        for name in names:
            scene = exports.Scene(name, split, (8, 8), ())
            exports.write_image(scene, root / split / f'{name}.png')
    for split, names in (('train', 'bcd'), ('val', 'aef')):
        rows = ''.join(f'{split}/{n}.png,{"x" if n < "c" else "y"}\n' for n in names)
        (root / f'{split}.csv').write_text(f'file,label\n{rows}')
    with pytest.raises(DataError, match=words('val.csv', 'val/a.png')):
        find_layout(root)


@pytest.mark.parametrize(
    ('folders', 'number', 'expected'),
    [((0, 1, 4), 6, 'from-0'), ((1, 2, 4), 4, 'from-1'), ((1, 2, 4), 6, None)],
)
def test_numbers_count_from_0_or_1(tmp_path, folders, number, expected):
    root = tmp_path / 'pets'
    for split in ('train', 'val'):
        for folder in folders:
            place = root / split / str(folder) / 'a.png'
            exports.write_image(exports.Scene(f'{folder}', split, (8, 8), ()), place)
    (root / 'labels.txt').write_text(''.join(f'name{i}\n' for i in range(number)))

    def numbers(**answers: str) -> set[str]:
        layout = find_layout(root, Choices(read_as=answers))
        return {folder.name for folder in folders_in(layout.split('train').images)}

    names = {how: {f'name{i - int(how[-1])}' for i in folders} for how in ('from-0', 'from-1')}
    if expected is not None:
        assert numbers() == names[expected]
        return
    with pytest.raises(DataError, match=words('--read-as numbers=from-0', 'numbers=from-1')):
        numbers()
    for how, called in names.items():
        assert numbers(numbers=how) == called


def test_a_column_of_labels_counts_before_columns_of_bits(tmp_path):
    rows = ''.join(f'{i}.png,{i % 2},{i // 4}\n' for i in range(6))
    root = listed(tmp_path / 'pets', labels=f'filename,label,occluded\n{rows}')
    expected = {f'{i}': f'{i % 2}' for i in range(6)}
    assert read(find_layout(root).splits[0].images) == expected
    (root / 'labels.csv').write_text(f'filename,animal,occluded\n{rows}')
    choices = Choices(read_as={'column': 'animal'})
    assert read(find_layout(root, choices).splits[0].images) == expected


def test_a_column_for_each_class_may_be_called_label(tmp_path):
    rows = ''.join(f'{i}.png,{1 - i % 2},{i % 2}\n' for i in range(6))
    root = listed(tmp_path / 'range', labels=f'filename,decoy,target\n{rows}')
    with pytest.raises(DataError, match=words('labels.csv', 'column=each', 'column=target')):
        find_layout(root)
    for answer, names in (('each', ('decoy', 'target')), ('target', ('0', '1'))):
        layout = find_layout(root, Choices(read_as={'column': answer}))
        assert read(layout.splits[0].images) == {f'{i}': names[i % 2] for i in range(6)}


def test_a_column_for_each_class_may_have_decimals(tmp_path):
    rows = ''.join(f'{i}.png,{float(i % 2)},{float(1 - i % 2)}\n' for i in range(6))
    root = listed(tmp_path / 'moles', labels=f'image,MEL,NV\n{rows}')
    assert read(find_layout(root).splits[0].images) == {
        f'{i}': 'MEL' if i % 2 else 'NV' for i in range(6)
    }
    (root / 'labels.csv').write_text(f'image,MEL,NV\n{rows}'.replace('1.0,0.0', '1.0,1.0'))
    with pytest.raises(DataError, match=words('labels.csv', '--read-as column=MEL')):
        find_layout(root)


def test_a_name_in_the_first_line_may_have_a_comma(tmp_path):
    labels = {f'{i}': 'New York, NY' if i % 2 == 0 else 'Rome' for i in range(6)}
    text = ''.join(f'{name}.png\t{label}\n' for name, label in labels.items())
    root = listed(tmp_path / 'towns', labels=text)
    assert read(find_layout(root).splits[0].images) == labels


def test_no_class_is_hidden_or_becomes_another(tmp_path):
    rows = ''.join(f'{i}.png,{label}\n' for i, label in enumerate(('.net', 'n/a', 'cat')))
    root = listed(tmp_path / 'pets', labels=f'filename,label\n{rows}')
    assert {f.name for f in folders_in(find_layout(root).splits[0].images)} == {
        'class .net', 'n_a', 'cat'
    }  # fmt: skip
    (root / 'labels.csv').write_text(f'filename,label\n{rows}3.png,n_a\n')
    with pytest.raises(DataError, match=words('labels.csv', 'n/a', 'n_a')):
        find_layout(root)


def test_no_folder_that_gets_a_name_is_hidden_or_becomes_another(tmp_path):
    for split in ('train', 'val'):
        image_folder(tmp_path / split, classes=2, each=1)
        for folder in folders_in(tmp_path / split):
            folder.rename(folder.with_name(folder.name.removeprefix('class_')))
    (tmp_path / 'classes.txt').write_text('.net\ncat\n')
    images = find_layout(tmp_path).split('train').images
    assert {f.name for f in folders_in(images)} == {'class .net', 'cat'}
    (tmp_path / 'classes.txt').write_text('n/a\nn_a\n')
    with pytest.raises(DataError, match=words('classes.txt', 'n/a', 'n_a')):
        find_layout(tmp_path)


@pytest.mark.parametrize('name', ['valley', 'test_project', 'validation', 'train'])
@pytest.mark.parametrize('test', [False, True])
def test_the_name_of_the_folder_is_no_split(tmp_path, name, test):
    root = exports.class_list(tmp_path / name, LABELS)
    if test:
        exports.write_image(exports.Scene('x', '', (8, 8), ()), root / 'test' / 'x.png')
    with pytest.raises(DataError, match=words('--val-share 0.2')):
        find_trainable(root)
    layout = find_trainable(root, Choices(val_share=0.25))
    assert len(read(layout.split('val').images)) == 3


@pytest.mark.parametrize(
    'names', [('images', 'maps'), ('seg_train', 'seg_test'), ('train_hq', 'train_masks')]
)
def test_what_is_in_the_place_of_classes_is_asked_for(tmp_path, names):
    for name in names:
        image_folder(tmp_path / name, classes=2, each=2)
    choices = Choices(val_share=0.5)
    with pytest.raises(DataError, match=words('is called as no class', '--read-as format=folders')):
        find_trainable(tmp_path, choices)
    layout = find_trainable(tmp_path, Choices(0.5, read_as={'format': 'folders'}))
    assert {folder.name for folder in folders_in(layout.split('val').images)} == set(names)
    for folder in folders_in(tmp_path):
        folder.rename(tmp_path / ('train' if folder.name == names[0] else 'with_mask'))
    assert find_trainable(tmp_path / 'train', choices)


def test_a_folder_for_each_image_is_no_class(tmp_path):
    for name in ('1', '2'):
        for part in ('images', 'masks'):
            image_folder(tmp_path / name / part, classes=1, each=2, size=8)
    with pytest.raises(DataError, match=words(str(tmp_path / '1'), '--read-as format=folders')):
        find_trainable(tmp_path, Choices(val_share=0.5))
    for name in ('1', '2'):
        (tmp_path / name / 'masks').rename(tmp_path / name / 'more')
    assert find_trainable(tmp_path, Choices(val_share=0.5)).task == 'cls'


def test_a_sample_of_answers_has_no_classes(tmp_path):
    ids = [f'{i},{"cat" if i % 2 else "dog"}\n' for i in range(6)]
    root = listed(tmp_path / 'pets', train='id,breed\n' + ''.join(ids[:4]))
    (root / 'sample_submission.csv').write_text('id,cat,dog\n4,0.5,0.5\n5,0.5,0.5\n')
    layout = find_layout(root)
    assert [split.name for split in layout.splits] == ['train']
    assert sorted(read(layout.splits[0].images)) == ['0', '1', '2', '3']


@pytest.mark.parametrize('head', ['xmin,ymin,xmax,ymax', 'XMin,XMax,YMin,YMax'])
def test_a_list_of_boxes_is_no_list_of_classes(tmp_path, head):
    rows = ''.join(f'{i}.png,{"cat" if i % 2 else "dog"},1,2,3,4\n' for i in range(6))
    root = listed(tmp_path / 'pets', labels=f'filename,class,{head}\n{rows}')
    with pytest.raises(DataError, match=words('labels.csv', 'boxes', '--read-as column=')):
        find_layout(root)
    layout = find_layout(root, Choices(read_as={'column': 'class'}))
    assert set(read(layout.splits[0].images).values()) == {'cat', 'dog'}
