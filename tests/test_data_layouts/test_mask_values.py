"""What the pixels of masks stand for, where numbers, colours and lists of them meet."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from g2sd_mm.data_layouts import Choices, Layout, find_layout, mask_values
from g2sd_mm.data_layouts.mask_pixels import pixels_of
from g2sd_mm.errors import DataError

from ..helpers.exports import Scene, write_image
from ..helpers.toys import words

BLACK, RED, BLUE, GREY, WHITE = (0, 0, 0), (200, 0, 0), (0, 0, 200), (128,) * 3, (255,) * 3
BORDER = (224, 224, 192)


def written(
    root: Path, masks: Mapping[str, np.ndarray], palettes: Mapping[str, list] = {},
    folder: str = 'masks', ending: str = 'png',
) -> Path:  # fmt: skip
    """An image for each mask, all of them for training."""
    for name, mask in masks.items():
        for place in ('images/train', f'{folder}/train'):
            (root / place).mkdir(parents=True, exist_ok=True)
        Image.new('RGB', (4, 4)).save(root / f'images/train/{name}.png')
        picture = Image.fromarray(mask.astype(np.uint8), 'P' if palettes else None)
        if palettes:
            colours = palettes.get(name) or palettes['*']
            picture.putpalette([channel for colour in colours for channel in colour])
        picture.save(root / f'{folder}/train/{name}.{ending}')
    return root


def listed(root: Path, **colours: tuple[int, ...]) -> Path:
    lines = [f'{name},{r},{g},{b}' for name, (r, g, b) in colours.items()]
    (root / 'class_dict.csv').write_text('\n'.join(['name,r,g,b', *lines]))
    return root


def names_in(layout: Layout, name: str) -> list[str]:
    """Of the classes of a mask, pixel by pixel."""
    numbers = np.asarray(Image.open(layout.split('train').labels / f'{name}.png')).flatten()
    return ['ignored' if n == 255 else layout.classes[n] for n in numbers.tolist()]


@pytest.mark.parametrize('channels', [1, 3])
@pytest.mark.parametrize('first', ['road', 'ground'])
def test_black_and_white_are_the_classes_that_a_list_says(tmp_path, channels, first):
    mask = np.array([[0, 255]])
    mask = mask if channels == 1 else np.stack([mask] * 3, -1)
    colours = {'road': WHITE, 'ground': BLACK}
    listed(written(tmp_path, {'a': mask}), **{first: colours.pop(first)}, **colours)
    assert names_in(find_layout(tmp_path), 'a') == ['ground', 'road']


def test_white_may_be_listed_as_ignored(tmp_path):
    root = listed(written(tmp_path, {'a': np.array([[0, 255]])}), ground=BLACK, void=WHITE)
    assert names_in(find_layout(root), 'a') == ['ground', 'ignored']


def test_listed_greys_are_classes(tmp_path):
    root = written(tmp_path, {'a': np.array([[255, 128, 0]])})
    listed(root, ground=BLACK, liver=WHITE, tumour=GREY)
    assert names_in(find_layout(root), 'a') == ['liver', 'tumour', 'ground']


def test_numbers_are_no_greys_of_a_list(tmp_path):
    root = listed(written(tmp_path, {'a': np.array([[0, 1]])}), red=RED, ground=BLACK)
    assert names_in(find_layout(root), 'a') == ['red', 'ground']


@pytest.mark.parametrize('in_order', [True, False])
def test_palettes_are_read_by_the_colours_of_a_list(tmp_path, in_order):
    palette = [BLACK, RED, BLUE, *[BLACK] * 252, BORDER]
    masks = {'a': np.array([[0, 1, 2, 255]])}
    root = written(tmp_path, masks, {'*': palette}, 'annotations')
    colours = {'ground': BLACK, 'person': RED, 'car': BLUE}
    listed(root, **(colours if in_order else dict(sorted(colours.items()))))
    layout = find_layout(root)
    assert names_in(layout, 'a') == ['ground', 'person', 'car', 'ignored']
    assert (layout.copy is None) == in_order  # numbers say the same


@pytest.mark.parametrize('ending', ['png', 'bmp'])
def test_one_other_palette_among_many_files_is_found(tmp_path, ending):
    masks = {f'{i:03}': np.array([[0, 1]]) for i in range(60)}
    palettes = {'*': [BLACK, RED], '031': [BLACK, BLUE]}
    written(tmp_path, masks, palettes, ending=ending)
    layout = find_layout(tmp_path)
    assert names_in(layout, '030')[1] == '#c80000' and names_in(layout, '031')[1] == '#0000c8'


def test_palettes_may_differ_in_what_no_mask_shows(tmp_path):
    masks = {f'{i:03}': np.array([[0, 1]]) for i in range(60)}
    written(tmp_path, masks, {'*': [BLACK, RED, BLUE], '031': [BLACK, RED, GREY]}, 'annotations')
    assert find_layout(tmp_path).copy is None


@pytest.mark.parametrize('last', [BLACK, BORDER])
def test_palettes_may_be_filled_up_behind_what_masks_show(tmp_path, last):
    full = [BLACK, RED, BLUE, GREY]
    masks = {'a': [[0, 1, 2, 255]], 'b': [[0, 1, 2, 3]]}
    palettes = {'a': full[:3] + [BLACK] * 252 + [last], 'b': full + [BLACK] * 252}
    root = written(tmp_path, {k: np.array(m) for k, m in masks.items()}, palettes, 'annotations')
    assert find_layout(root).copy is None


def test_files_are_decoded_only_where_a_difference_can_count(tmp_path, monkeypatch):
    decoded = []

    def counted(file: Path) -> np.ndarray:
        decoded.append(file.stem)
        return pixels_of(file)

    masks = {f'{i:03}': np.array([[0, 1]]) for i in range(40)}
    written(tmp_path, masks, {'*': [BLACK, RED], '007': [BLACK, RED, BLUE]})
    files = sorted((tmp_path / 'masks/train').iterdir())
    monkeypatch.setattr(mask_values, 'pixels_of', counted)
    assert not mask_values._own_palettes(files) and not decoded


@pytest.mark.parametrize('first', [[BLACK, RED], [BLACK, RED, *[BLACK] * 254]])
def test_colours_that_the_first_palette_does_not_hold_can_differ(tmp_path, first):
    masks = {'a': np.array([[0, 1]]), 'b': np.array([[0, 2]]), 'c': np.array([[0, 2]])}
    palettes = {'a': first, 'b': [BLACK, GREY, RED], 'c': [BLACK, WHITE, BLUE]}
    layout = find_layout(written(tmp_path, masks, palettes))
    assert [names_in(layout, name)[1] for name in 'abc'] == ['#c80000', '#c80000', '#0000c8']


@pytest.mark.parametrize('last', [BLACK, BORDER])
def test_255_of_a_palette_is_ignored_in_whichever_file(tmp_path, last):
    masks = {f'{i:03}': np.array([[0, 1, 2]]) for i in range(60)}
    masks['031'] = np.array([[0, 1, 255]])
    root = written(tmp_path, masks, {'*': [BLACK, RED, BLUE, *[BLACK] * 252, last]})
    layout = find_layout(listed(root, ground=BLACK, car=BLUE, person=RED))
    assert names_in(layout, '030') == ['ground', 'person', 'car']
    assert names_in(layout, '031') == ['ground', 'person', 'ignored']


def test_255_of_a_palette_may_have_a_listed_colour_of_its_own(tmp_path):
    greys = [(i, i, i) for i in range(256)]
    root = written(tmp_path, {'a': np.array([[0, 255]])}, {'*': greys})
    assert names_in(find_layout(listed(root, ground=BLACK, road=WHITE)), 'a') == ['ground', 'road']


def test_blue_is_no_255_of_a_palette(tmp_path):
    root = written(tmp_path, {'a': np.array([[BLACK, (0, 0, 255)]])})
    with pytest.raises(DataError, match=words('a.png', '#0000ff')):
        find_layout(listed(root, ground=BLACK, road=RED))


def test_names_stay_where_black_is_the_first_class(tmp_path):
    root = listed(written(tmp_path, {'a': np.array([[0, 255]])}), ground=BLACK, road=RED)
    assert names_in(find_layout(root), 'a') == ['ground', 'road']
    listed(root, road=RED, ground=BLACK)
    assert find_layout(root).classes == ('background', 'object')


@pytest.mark.parametrize('rare', [128, 254])
def test_a_rare_grey_beside_0_and_255_is_named(tmp_path, rare):
    masks = {f'{i:03}': np.array([[0, 255]]) for i in range(60)} | {'031': np.array([[rare, 255]])}
    written(tmp_path, masks)
    with pytest.raises(DataError, match=words('031.png', str(rare), 'masks=colours')) as refusal:
        find_layout(tmp_path)
    assert 'masks=numbers' not in str(refusal.value)  # which would make it a class
    layout = find_layout(tmp_path, Choices(read_as={'masks': 'colours'}))
    assert len(layout.classes) == 3


def test_a_jpeg_beside_a_mask_is_a_picture_of_it(tmp_path):
    masks = {name: np.array([[0, 1]]) for name in 'ab'}
    root = written(tmp_path, masks)
    for name in masks:
        Image.new('RGB', (2, 1)).save(root / f'masks/train/{name}.jpg')
    mask = find_layout(root).split('train').labels / 'a.png'
    assert (np.asarray(Image.open(mask)) == [0, 1]).all()


@pytest.mark.parametrize('folder', ['masks', 'annotations'])
@pytest.mark.parametrize('rare', [[[1, 0]], [[1, 255]]])
def test_a_rare_1_beside_0_and_255_is_asked_for(tmp_path, folder, rare):
    masks = {f'{i:03}': np.array([[0, 255]]) for i in range(60)} | {'031': np.array(rare)}
    written(tmp_path, masks, folder=folder)
    said = words('031.png', '--read-as masks=numbers', '--read-as masks=binary')
    with pytest.raises(DataError, match=said):
        find_layout(tmp_path)
    expected = {'numbers': np.array(rare), 'binary': np.array(rare) > 0}
    for answer, numbers in expected.items():
        layout = find_layout(tmp_path, Choices(read_as={'masks': answer}))
        mask = np.asarray(Image.open(layout.split('train').labels / '031.png'))
        assert (mask == numbers).all()


def test_masks_of_1_and_masks_of_255_are_asked_for(tmp_path):
    masks = {'a': np.array([[0, 255]]), 'b': np.array([[0, 1]])}
    with pytest.raises(DataError, match=words('masks=numbers', 'masks=binary')):
        find_layout(written(tmp_path, masks))
    written(tmp_path, {'c': np.array([[0, 1, 255]])})  # so 255 is no 1
    assert find_layout(tmp_path).split('train')


def test_two_masks_of_an_image_are_refused(tmp_path):
    for ending in ('png', 'bmp'):
        written(tmp_path, {'a': np.array([[0, 1]])}, ending=ending)
    with pytest.raises(DataError, match=words('a.png', 'masks/train/a.bmp')):
        find_layout(tmp_path)


def test_two_classes_of_one_colour_are_refused_where_colours_count(tmp_path):
    root = written(tmp_path, {'a': np.array([[BLACK, RED]])})
    listed(root, ground=BLACK, car=RED, bus=RED)
    with pytest.raises(DataError, match=words('class_dict.csv', 'car', 'bus', '200,0,0')):
        find_layout(root)
    for mask in (root / 'masks' / 'train').iterdir():
        Image.fromarray(np.array([[0, 2]], np.uint8)).save(mask)
    assert names_in(find_layout(root), 'a') == ['ground', 'bus']


@pytest.mark.parametrize(
    ('name', 'text'),
    [('class_dict.csv', 'name,r,g,b\na,1,2\n'), ('_classes.csv', 'Pixel Value,Class\n0\n')],
)
def test_short_rows_of_names_are_named(tmp_path, name, text):
    written(tmp_path, {'a': np.array([[0, 1]])})
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=words(name, text.splitlines()[1])):
        find_layout(tmp_path)


def test_a_damaged_mask_among_colours_is_named(tmp_path):
    written(tmp_path, {'a': np.array([[BLACK, RED]]), 'b': np.array([[BLACK, RED]])})
    for i in range(60):
        written(tmp_path, {f'c{i:02}': np.array([[BLACK, RED]])})
    file = tmp_path / 'masks/train/c31.png'
    file.write_bytes(b'no picture')
    with pytest.raises(DataError, match=words(str(file))):
        find_layout(tmp_path)


@pytest.mark.parametrize('folder', ['masks', 'annotations'])
def test_grey_masks_may_have_an_alpha_channel(tmp_path, folder):
    mask = np.arange(48, dtype=np.uint8).reshape(6, 8) % 3
    for split in ('train', 'val'):
        write_image(Scene('a', split, (8, 6), ()), tmp_path / 'images' / split / 'a.png')
        file = tmp_path / folder / split / 'a.png'
        file.parent.mkdir(parents=True)
        Image.fromarray(np.dstack([mask, np.full_like(mask, 255)])).save(file)
    for split in find_layout(tmp_path).splits:
        with Image.open(split.labels / 'a.png') as written:
            assert written.mode == 'L' and (np.asarray(written) == mask).all()


def test_the_ending_of_masks_may_be_in_capitals(tmp_path):
    for split in ('train', 'val'):
        write_image(Scene('a', split, (8, 6), ()), tmp_path / 'images' / split / 'a.png')
        file = tmp_path / 'annotations' / split / 'a.PNG'
        file.parent.mkdir(parents=True)
        Image.fromarray(np.eye(6, 8, dtype=np.uint8)).save(file)
    for split in find_layout(tmp_path).splits:
        assert [path.name for path in split.labels.iterdir()] == ['a.png']
