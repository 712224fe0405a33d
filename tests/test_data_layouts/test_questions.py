"""What can be read in two ways is asked for, in one line with both readings and the option."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from g2sd_mm.data_layouts import Choices, find_layout, find_trainable
from g2sd_mm.data_layouts.choices import QUESTIONS, SEVERAL, read_answers
from g2sd_mm.data_layouts.coco_file import read_annotations
from g2sd_mm.errors import DataError, UserError
from g2sd_mm.image_files import files_below

from ..helpers import exports
from ..helpers.exports import scenes
from ..helpers.toys import image_folder, words

ROOT = Path(__file__).parents[2]


def chosen(**answers: str) -> Choices:
    return Choices(read_as=answers)


def asked(root: Path, question: str, *answers: str) -> None:
    with pytest.raises(DataError) as refusal:
        find_layout(root)
    message = str(refusal.value)
    assert '\n' not in message
    for answer in answers:
        assert f'--read-as {question}={answer}' in message


def test_labels_of_two_kinds(tmp_path):
    root = exports.yolo(tmp_path / 'fruit', scenes())
    exports.roboflow_coco(root, scenes())
    asked(root, 'format', 'coco', 'yolo')
    assert find_layout(root, chosen(format='coco')).copy is None
    assert 'yolo' in find_layout(root, chosen(format='yolo')).copy.name
    with pytest.raises(DataError, match=words('format=voc')):
        find_layout(root, chosen(format='voc'))


def test_objects_and_masks_of_one_folder(tmp_path):
    root = exports.masks(exports.voc(tmp_path / 'fruit', scenes()), scenes(), 'palette')
    asked(root, 'format', 'voc', 'masks')
    assert find_layout(root, task='seg').task == 'seg'
    assert find_layout(root, task='det').task == 'det'


def test_two_annotation_files_of_one_split(tmp_path):
    root = exports.roboflow_coco(tmp_path / 'fruit', scenes())
    file = root / 'train' / '_annotations.coco.json'
    shutil.copy(file, root / 'train' / 'corrected.json')
    asked(root, 'file', 'train/_annotations.coco.json', 'train/corrected.json')
    layout = find_layout(root, chosen(file='train/corrected.json'))
    assert layout.split('train').labels.name == 'corrected.json'
    assert layout.split('val').labels.name == file.name


def test_annotations_that_are_all_crowd_regions(tmp_path):
    root = exports.roboflow_coco(tmp_path / 'fruit', scenes())
    for file in root.rglob('*.json'):
        content = json.loads(file.read_text())
        for annotation in content['annotations']:
            annotation['iscrowd'] = 1
        file.write_text(json.dumps(content))
    asked(root, 'crowd', 'objects', 'regions')
    for answer, crowd in (('objects', 0), ('regions', 1)):
        layout = find_layout(root, chosen(crowd=answer))
        content = read_annotations(layout.split('train').labels).content
        assert {a['iscrowd'] for a in content['annotations']} == {crowd}


PAINTED = dict(iscrowd=1, segmentation=dict(size=[52, 72], counts=[3744]))


def cvat_file(root: Path, change) -> Path:
    """CVAT's own folders of one subset; ``change`` is given the content of its file."""
    exports.cvat_coco(root, scenes({'default': 6}))
    file = root / 'annotations' / 'instances_default.json'
    content = json.loads(file.read_text('utf-8-sig'))
    change(content)
    file.write_text(json.dumps(content))
    return file


def painted(content: dict) -> None:
    """One object in twelve has run lengths in the place of polygons."""
    annotation = next(a for a in content['annotations'] if a['image_id'] == 2)
    annotation.update(PAINTED)


@pytest.mark.parametrize('native', [False, True])
def test_painted_objects_among_polygons(tmp_path, native):
    root = tmp_path / 'fruit'
    file = cvat_file(root, painted)
    if native:
        (root / 'images' / 'default').rename(root / 'default')
    asked(root, 'crowd', 'objects', 'regions')
    for answer, crowds in (('objects', 0), ('regions', 1)):
        (split,) = find_layout(root, chosen(crowd=answer)).splits
        annotations = read_annotations(split.labels).content['annotations']
        assert sum(a['iscrowd'] for a in annotations) == crowds
        assert (split.labels == file) == (answer == 'regions')


def test_few_crowd_regions_are_what_they_say(tmp_path):
    def few(content):
        painted(content)
        first = content['annotations'][-1]
        content['annotations'] += [{**first, 'id': 100 + i} for i in range(20)]

    cvat_file(tmp_path / 'fruit', few)
    assert find_layout(tmp_path / 'fruit').copy is None


def damaged(content: dict) -> None:
    painted(content)
    for annotation in content['annotations']:
        if annotation['iscrowd']:
            annotation['segmentation'] = dict(size=[52, 72], counts=[1])


def twice(content: dict) -> None:
    content['annotations'][1]['id'] = content['annotations'][0]['id']


@pytest.mark.parametrize(
    ('change', 'said'), [(damaged, 'run lengths'), (twice, 'annotations: id')]
)
def test_what_is_wrong_in_cvats_folders_is_told(tmp_path, change, said):
    file = cvat_file(tmp_path / 'fruit', change)
    with pytest.raises(DataError, match=words(str(file), said)):
        find_layout(tmp_path / 'fruit')


def test_masks_of_several_kinds_for_each_image(tmp_path):
    root = exports.masks(tmp_path / 'fruit', scenes(), 'cityscapes')
    for mask in list(root.rglob('*labelTrainIds.png')):
        colours = Image.fromarray(exports.coloured(np.asarray(Image.open(mask))))
        colours.save(str(mask).replace('labelTrainIds', 'color'))
    asked(root, 'suffix', '_leftImg8bit:_gtFine_labelTrainIds', '_leftImg8bit:_gtFine_color')
    layout = find_layout(root, chosen(suffix='_leftImg8bit:_gtFine_labelTrainIds'))
    assert layout.notes[0].count('labelTrainIds')


def test_grey_levels_or_numbers(tmp_path):
    root = exports.masks(tmp_path / 'fruit', scenes(), 'masks')
    for mask in list((root / 'masks').rglob('*.png')):
        Image.fromarray(np.asarray(Image.open(mask)) * 100).save(mask)
    asked(root, 'masks', 'numbers', 'colours')
    for answer, values in (('numbers', {0, 100, 200}), ('colours', {0, 1, 2})):
        layout = find_layout(root, chosen(masks=answer))
        found = {
            int(value)
            for split in layout.splits
            for mask in files_below(split.labels)
            for value in np.unique(np.asarray(Image.open(mask)))
        }
        assert found == values


def test_0_and_255_are_background_and_object(tmp_path):
    root = exports.masks(tmp_path / 'fruit', scenes({'all': 4}), 'labels')
    layout = find_layout(root)
    assert layout.classes == ('background', 'object')
    masks = [np.asarray(Image.open(m)) for m in files_below(layout.splits[0].labels)]
    assert {int(v) for mask in masks for v in np.unique(mask)} == {0, 1}
    split = find_trainable(root, Choices(val_share=0.25)).split('val')
    assert len(list(files_below(split.images))) == len(list(files_below(split.labels))) == 1


def masked(root: Path, folder: str, number: int, mask: np.ndarray) -> Path:
    """Images of which one shows what ``mask`` does; the other masks are black."""
    for split in ('train', 'val'):
        for i in range(number):
            for place in (root / 'images', root / folder):
                (place / split).mkdir(parents=True, exist_ok=True)
            Image.new('RGB', (4, 4)).save(root / 'images' / split / f'{i:03}.png')
            last = split == 'train' and i == number - 2
            written = mask if last else np.zeros_like(mask)
            Image.fromarray(written).save(root / folder / split / f'{i:03}.png')
    return root


RARE = np.array([[0, 255], [0, 0]], np.uint8)


@pytest.mark.parametrize('folder', ['masks', 'annotations'])
def test_one_object_among_many_black_masks_decides(tmp_path, folder):
    layout = find_layout(masked(tmp_path, folder, 40, RARE))
    assert layout.copy and layout.classes == ('background', 'object')
    assert np.asarray(Image.open(layout.split('train').labels / '038.png')).max() == 1


@pytest.mark.parametrize('channel', [0, 2])
def test_one_coloured_object_among_many_black_masks_decides(tmp_path, channel):
    colour = np.zeros((2, 2, 3), np.uint8)
    colour[0, 0, channel] = 255
    layout = find_layout(masked(tmp_path, 'masks', 40, colour))
    assert layout.classes[0] == '#000000' and len(layout.classes) == 2
    assert np.asarray(Image.open(layout.split('train').labels / '038.png'))[0, 0] == 1


def test_a_coloured_mask_among_grey_ones_is_refused(tmp_path):
    root = masked(tmp_path, 'masks', 60, np.full((2, 2, 3), 1, np.uint8))
    for file in (root / 'masks' / 'train').iterdir():
        Image.new('RGB', (2, 2), (1, 1, 1)).save(file)
    file = root / 'masks' / 'train' / '001.png'
    Image.new('RGB', (2, 2), (0, 0, 9)).save(file)
    with pytest.raises(DataError, match=words(str(file), '--read-as masks=colours')):
        find_layout(root)


def with_palette(root: Path, colours: list[list[int]]) -> Path:
    """Masks of the number 0 and of one more each, whose palettes end with what they use."""
    for i, palette in enumerate(colours):
        for place in ('images/train', 'masks/train'):
            (root / place).mkdir(parents=True, exist_ok=True)
        Image.new('RGB', (4, 4)).save(root / f'images/train/{i}.png')
        mask = Image.fromarray(np.array([[0, len(palette) // 3 - 1]], np.uint8), 'P')
        mask.putpalette(palette)
        mask.save(root / f'masks/train/{i}.png')
    (root / 'classes.txt').write_text('ground\napple\nberry\n')
    return root


def test_one_palette_cut_to_what_is_used_leaves_numbers(tmp_path):
    palette = [0, 0, 0, 128, 0, 0, 0, 0, 128]
    layout = find_layout(with_palette(tmp_path, [palette[:6], palette]))
    assert layout.classes == ('ground', 'apple', 'berry')
    masks = sorted(files_below(layout.splits[0].labels))
    assert [np.asarray(Image.open(mask)).max() for mask in masks] == [1, 2]


def test_names_are_not_given_to_colours_in_the_order_of_their_values(tmp_path):
    root = with_palette(tmp_path, [[0, 0, 0, 128, 0, 0], [0, 0, 0, 0, 0, 128]])
    message = words('#000080', str(root / 'classes.txt'), 'labelmap.txt', '--read-as masks=numbers')
    with pytest.raises(DataError, match=message):
        find_layout(root)
    assert find_layout(root, chosen(masks='numbers')).classes == ('ground', 'apple', 'berry')
    (root / 'classes.txt').unlink()
    (root / 'labelmap.txt').write_text('ground:0,0,0::\nberry:128,0,0::\napple:0,0,128::\n')
    assert find_layout(root).classes == ('ground', 'berry', 'apple')


def test_a_labelled_test_split_may_validate(tmp_path):
    for split in ('train', 'test'):
        image_folder(tmp_path / 'pets' / split, classes=2, each=3)
    with pytest.raises(DataError, match=words('--val-share 0.2', '--read-as test=val')):
        find_trainable(tmp_path / 'pets')
    layout = find_trainable(tmp_path / 'pets', chosen(test='val'))
    assert layout.split('val').images == tmp_path / 'pets' / 'test'
    held = find_trainable(tmp_path / 'pets', Choices(val_share=0.34))
    assert len(list(files_below(held.split('val').images))) == 2  # one of each class


def test_names_that_disagree(tmp_path):
    root = exports.masks(tmp_path / 'fruit', scenes(), 'masks')
    (root / 'classes.txt').write_text('ground\napple\nberry\n')
    assert find_layout(root).classes == ('ground', 'apple', 'berry')
    (root / 'labels.txt').write_text('ground\nberry\napple\n')
    with pytest.raises(DataError, match=words('classes.txt', 'labels.txt', 'leave one')):
        find_layout(root)


@pytest.mark.parametrize(
    ('line', 'said'),
    [
        ('0 0.5 0.5 0.1 0.1 0.9', ('line 1', 'confidence')),
        ('0 12 20 30 30', ('line 1', 'pixels are divided')),
        ('2 0.5 0.5 0.1 0.1', ('class 2', 'names 2')),
        ('0 0.5 0.5', ('line 1', '3 numbers')),
        ('apple 0.5 0.5 0.1 0.1', ('line 1', 'no row of numbers')),
    ],
)
def test_broken_yolo_lines_are_named(tmp_path, line, said):
    root = exports.yolo(tmp_path / 'fruit', scenes())
    file = root / 'train' / 'labels' / 't_1.txt'
    file.write_text(line)
    with pytest.raises(DataError, match=words(str(file), *said)):
        find_layout(root)
    assert not list((root / '.g2sd').glob('yolo*'))


def test_broken_xml_and_images_that_are_not_there(tmp_path):
    root = exports.voc(tmp_path / 'fruit', scenes())
    file = root / 'Annotations' / 't_1.xml'
    text = file.read_text()
    file.write_text(text[:-40])
    with pytest.raises(DataError, match=words(str(file), 'XML')):
        find_layout(root)
    file.write_text(text)
    (root / 'JPEGImages' / 't_1.jpg').unlink()
    with pytest.raises(DataError, match=words(str(file), 't_1.jpg is not there')):
        find_layout(root)


def test_masks_as_jpeg_and_of_blended_colours_are_refused(tmp_path):
    root = exports.masks(tmp_path / 'fruit', scenes(), 'masks')
    for mask in list((root / 'masks').rglob('*.png')):
        Image.open(mask).save(mask.with_suffix('.jpg'))
        mask.unlink()
    with pytest.raises(DataError, match=words('masks/train', 'is a JPEG')):
        find_layout(root)
    other = exports.masks(tmp_path / 'other', scenes(), 'plain_colours')
    mask = next(other.rglob('*_L.png'))
    noise = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    Image.fromarray(noise).save(mask)
    with pytest.raises(DataError, match=words(str(other), 'more than 255 colours')):
        find_layout(other)


def test_options_that_say_nothing_are_refused():
    for share in (0, 1, -0.1):
        with pytest.raises(UserError, match='--val-share'):
            Choices(val_share=share)
    with pytest.raises(UserError, match=words('colour=red', 'format')):
        Choices(read_as={'colour': 'red'})
    with pytest.raises(UserError, match='QUESTION=ANSWER'):
        read_answers(['yolo'])
    assert read_answers(['file=a=b.json']) == {'file': 'a=b.json'}


@pytest.mark.parametrize('question', [q for q in QUESTIONS if q not in SEVERAL])
def test_an_answer_is_one_of_the_offered(question):
    offered = {'a': 'one', 'b': 'another'}
    twice = read_answers([f'{question}=a', f'{question}=a'])
    assert chosen(**twice).answer(question, offered, 'here') == 'a'
    for wrong in ('a,a', 'a,b', 'a,x', 'x'):
        with pytest.raises(DataError, match=words(f'{question}=a', f'{question}=b')):
            chosen(**{question: wrong}).answer(question, offered, 'here')
    with pytest.raises(DataError, match=words(f'{question}=a')):
        chosen(**{question: 'x'}).answer(question, {'a': 'one'}, 'here')


@pytest.mark.parametrize('wrong', ['from-1,from-1', 'from-0,from-1', 'x'])
def test_boxes_of_voc_are_read_in_one_of_two_ways(tmp_path, wrong):
    root = exports.voc(tmp_path / 'fruit', scenes())
    with pytest.raises(DataError, match=words('voc=from-1', 'voc=from-0')):
        find_layout(root, chosen(voc=wrong))


@pytest.mark.parametrize('wrong', ['colours,colours', 'colours,numbers', 'x'])
def test_masks_are_read_in_one_way(tmp_path, wrong):
    root = exports.masks(tmp_path / 'fruit', scenes(), 'palette')
    with pytest.raises(DataError, match=words('masks=numbers', 'masks=colours')):
        find_layout(root, chosen(masks=wrong))


def test_every_question_is_in_the_documentation():
    page = (ROOT / 'docs' / 'own_layouts.md').read_text()
    assert all(f'| `{question}` |' in page for question in QUESTIONS)
