"""Files, folders, globs, videos and lists: which pictures are meant."""

from __future__ import annotations

import struct
from io import BytesIO

import cv2
import numpy as np
import pytest
import torch
from PIL import Image as pillow

from g2sd_mm.errors import UserError
from g2sd_mm.students.images import FileReader, rgb_pixels
from g2sd_mm.students.sources import find

from ..helpers.odd_images import encoded, pixels


@pytest.fixture
def folder(tmp_path):
    for name in ('b.jpg', 'a.PNG', 'deep/c.jpeg', 'notes.txt', '.hidden.jpg', 'deep/Thumbs.db'):
        path = tmp_path / 'photos' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(kind='PNG' if name == 'a.PNG' else 'JPEG'))
    return tmp_path / 'photos'


def video(path, frames: int = 10, rate: float = 5.0):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'mp4v'), rate, (64, 48))
    for number in range(frames):
        writer.write(np.full((48, 64, 3), (0, 0, 20 * number), np.uint8))  # BGR: more and more red
    writer.release()
    return path


def unequal(path):
    """The same video with frames from the fifth on that are shown three times as long."""
    content = bytearray(path.read_bytes())
    at = content.index(b'stts')
    _, frames, length = struct.unpack('>III', content[at + 8 : at + 20])
    content[at + 8 : at + 20] = struct.pack('>5I', 2, 4, length, frames - 4, 3 * length)
    for box in (b'stts', b'stbl', b'minf', b'mdia', b'trak', b'moov'):  # eight bytes more
        size = content.rindex(box, 0, at + 4) - 4
        (before,) = struct.unpack_from('>I', content, size)
        struct.pack_into('>I', content, size, before + 8)
    path.write_bytes(content)
    return path


def names(source, **options):
    found = find(source, **options)
    items = list(found.items)
    assert found.total in (None, len(items))
    return [item.name.rpartition('/')[2] for item in items]


def test_a_folder_has_all_pictures_below_it(folder):
    assert names(folder) == names(str(folder)) == ['a.PNG', 'b.jpg', 'c.jpeg']
    assert names(folder, without=folder / 'deep') == ['a.PNG', 'b.jpg']


def test_globs(folder):
    assert names(f'{folder}/*.jp*') == ['b.jpg']
    assert names(f'{folder}/**/*', ) == ['a.PNG', 'b.jpg', 'c.jpeg']
    odd = folder / 'odd[1].jpg'  # a file goes before a glob
    odd.write_bytes(encoded())
    assert names(str(odd)) == ['odd[1].jpg']


def test_an_open_file_is_one_picture_and_not_its_lines(folder):
    path = folder / 'b.jpg'
    content = path.read_bytes()
    for source in (path.open('rb'), BytesIO(content), bytearray(content), memoryview(content)):
        found = find(source)
        (item,) = found.items
        assert found.single and item.image == content
        assert item.name in (str(path), 'image 0')
    assert names([path.open('rb'), BytesIO(content)]) == ['b.jpg', 'image 1']
    with pytest.raises(UserError, match='rb'):
        find(path.open('r', encoding='latin1'))


def test_lists_and_iterators_are_of_anything(folder):
    parts = [folder / 'b.jpg', str(folder / 'deep'), f'{folder}/*.PNG', pixels(), encoded(),
             pillow.fromarray(pixels()), torch.zeros(2, 3, 8, 8)]  # fmt: skip
    expected = ['b.jpg', 'c.jpeg', 'a.PNG', 'image 3', 'image 4', 'image 5', 'image 6, 0',
                'image 6, 1']  # fmt: skip
    assert names(parts) == names(tuple(parts)) == names(iter(parts)) == expected
    assert find(iter(parts)).total is None
    assert names([]) == []


def test_one_picture_is_told_from_several(folder):
    for one in (folder / 'b.jpg', pixels(), encoded(), pillow.fromarray(pixels())):
        assert find(one).single
    for several in (folder, [folder / 'b.jpg'], pixels()[None], f'{folder}/b*'):
        assert not find(several).single


@pytest.mark.parametrize('dtype', [np.uint16, np.float32])
def test_a_stack_is_its_pictures_for_a_reader_that_keeps_values(dtype):
    stack = np.random.default_rng(0).uniform(0, 0.9, (2, 4, 5, 3))
    stack = (stack * (1 if dtype == np.float32 else 40000)).astype(dtype)
    raw = FileReader(dict(type='LoadImageFromFile', color_type='unchanged'), 3)
    for one, item in zip(stack, find(stack).items, strict=True):
        assert np.array_equal(raw.pixels(item.picture()), one)
    many = torch.rand(2, 6, 4, 5)
    reader = FileReader(dict(type='LoadChannels'), 6)
    for one, item in zip(many, find(many).items, strict=True):
        assert np.array_equal(reader.pixels(item.picture()), one.permute(1, 2, 0))


def test_a_dark_picture_of_a_stack_has_the_range_of_all():
    stack = np.stack([np.full((4, 5, 3), 1.0), np.full((4, 5, 3), 200.0)])
    dark, bright = (rgb_pixels(item.picture()) for item in find(stack).items)
    assert (dark == 1).all() and (bright == 200).all()


def test_frames_of_a_video_have_their_number_and_time(tmp_path):
    path = video(tmp_path / 'x.mp4')
    found = find(path, every=3)
    items = list(found.items)
    assert found.total == len(items) == 4
    assert [item.facts for item in items] == [
        {'frame': 3 * i, 'seconds': pytest.approx(0.6 * i)} for i in range(4)
    ]
    reds = [int(item.image[..., 0].mean()) for item in items]
    assert reds == pytest.approx([0, 60, 120, 180], abs=12)
    assert all(item.image[..., 2].mean() < 12 for item in items)  # red comes first
    assert len(list(find(tmp_path).items)) == 10


def test_seconds_are_the_videos_own(tmp_path):
    items = find(unequal(video(tmp_path / 'phone.mp4'))).items
    seconds = [item.facts['seconds'] for item in items if 'seconds' in item.facts][:6]
    assert seconds == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1.4], abs=0.01)


def test_a_video_that_ends_too_early_says_so(tmp_path):
    path = video(tmp_path / 'x.avi', 40)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    *frames, last = find(path).items
    with pytest.raises(UserError, match=r'x\.avi: .* of this video can be read'):
        last.picture()
    assert all(item.facts for item in frames)
    (tmp_path / 'none.mp4').write_bytes(b'no video')
    (none,) = find(tmp_path / 'none.mp4').items
    with pytest.raises(UserError, match=r'none\.mp4: no frame'):
        none.picture()


@pytest.mark.parametrize(
    'source',
    ['nowhere.jpg', 'nowhere/*.jpg', 'https://example.org/a.jpg', 3, None, [['a.jpg']], 'EMPTY'],
)
def test_what_leads_to_no_picture_is_told_at_once(source, tmp_path):
    with pytest.raises(UserError):
        find(tmp_path if source == 'EMPTY' else source)
    with pytest.raises(UserError):
        find([pixels(), tmp_path if source == 'EMPTY' else source])
