"""The same small data as tools export them, each with the quirks of its tool.

Objects are rectangles of two classes on noise. Every writer takes :func:`scenes` and gives the
folder; what is in it is known from the scenes alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

CLASSES = ('apple', 'berry')
Box = tuple[int, int, int, int]  # x, y, width, height


@dataclass(frozen=True)
class Scene:
    """name: without ending. size: width, height. objects: class number and box."""

    name: str
    split: str
    size: tuple[int, int]
    objects: tuple[tuple[int, Box], ...]

    def pixels(self) -> np.ndarray:
        """uint8 [height, width, 3], other ones for every name."""
        generator = np.random.default_rng(sum(map(ord, self.name + self.split)))
        pixels = generator.integers(90, 150, (self.size[1], self.size[0], 3)).astype(np.uint8)
        for label, (x, y, w, h) in self.objects:
            pixels[y : y + h, x : x + w] = (40, 40, 220) if label else (220, 60, 40)
        return pixels

    def mask(self) -> np.ndarray:
        """Class numbers [height, width]: 0 is background."""
        mask = np.zeros((self.size[1], self.size[0]), np.uint8)
        for label, (x, y, w, h) in self.objects:
            mask[y : y + h, x : x + w] = label + 1
        return mask


def scenes(splits: Mapping[str, int] | None = None) -> list[Scene]:
    """Scenes of several sizes; the first of each split has no object."""
    made = []
    for split, number in (splits or {'train': 4, 'val': 2}).items():
        for i in range(number):
            size = (64 + 8 * i, 48 + 4 * i)
            number_of = i % 3 + (i > 0)
            objects = tuple((k % 2, (3 + 20 * k, 5 + i, 12, 14 + i)) for k in range(number_of))
            made.append(Scene(f'{split[0]}_{i}', split, size, objects))
    return made


def write_image(scene: Scene, place: Path) -> Path:
    """The picture, in the format of its ending."""
    place.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(place), scene.pixels())
    return place


def coco_content(
    chosen: Sequence[Scene], first_id: int = 1, ending: str = '.png', before: str = ''
) -> dict[str, Any]:
    """Content of one annotation file; ids count from ``first_id``."""
    images: list[dict] = []
    annotations: list[dict] = []
    for number, scene in enumerate(chosen, start=first_id):
        name = f'{before}{scene.name}{ending}'
        images.append(
            dict(id=number, file_name=name, width=scene.size[0], height=scene.size[1])
        )
        for label, (x, y, w, h) in scene.objects:
            annotations.append(
                dict(
                    id=len(annotations) + first_id, image_id=number, category_id=label + first_id,
                    bbox=[x, y, w, h], area=w * h, iscrowd=0,
                    segmentation=[[x, y, x + w, y, x + w, y + h, x, y + h]],
                )
            )  # fmt: skip
    categories = [dict(id=i, name=name) for i, name in enumerate(CLASSES, start=first_id)]
    return dict(images=images, annotations=annotations, categories=categories)


def _by_split(made: Sequence[Scene]) -> Iterator[tuple[str, list[Scene]]]:
    for split in dict.fromkeys(scene.split for scene in made):
        yield split, [scene for scene in made if scene.split == split]


def roboflow_coco(root: Path, made: Sequence[Scene]) -> Path:
    """``train/_annotations.coco.json``, ``valid/``; ids from 0, a root category 0, no iscrowd."""
    for split, chosen in _by_split(made):
        folder = root / ('valid' if split == 'val' else split)
        for scene in chosen:
            write_image(scene, folder / f'{scene.name}.jpg')
        content = coco_content(chosen, first_id=0, ending='.jpg')
        for annotation in content['annotations']:
            annotation['category_id'] += 1
            annotation.pop('iscrowd')
        content['categories'] = [
            dict(id=0, name='fruit', supercategory='none'),
            *(dict(id=i, name=n, supercategory='fruit') for i, n in enumerate(CLASSES, 1)),
        ]
        (folder / '_annotations.coco.json').write_text(json.dumps(content))
    (root / 'README.roboflow.txt').write_text('exported')
    return root


def cvat_coco(root: Path, made: Sequence[Scene]) -> Path:
    """``annotations/instances_<subset>.json`` and ``images/<subset>``; a byte-order mark."""
    (root / 'annotations').mkdir(parents=True)
    for split, chosen in _by_split(made):
        for scene in chosen:
            write_image(scene, root / 'images' / split / f'{scene.name}.png')
        content = coco_content(chosen)
        content |= {'licenses': [{'name': '', 'id': 0, 'url': ''}], 'info': {'contributor': ''}}
        for image in content['images']:
            image |= {'license': 0, 'flickr_url': '', 'date_captured': 0}
        text = json.dumps(content)
        (root / 'annotations' / f'instances_{split}.json').write_text(text, encoding='utf-8-sig')
    return root


def label_studio_coco(root: Path, made: Sequence[Scene]) -> Path:
    """One ``result.json`` beside ``images/``; ids from 0 with gaps, names with backslashes."""
    for scene in made:
        write_image(scene, root / 'images' / f'{scene.name}.png')
    content = coco_content(made, first_id=0, before='images\\')
    for image in content['images']:
        image['id'] *= 3
    for annotation in content['annotations']:
        annotation['image_id'] *= 3
        annotation |= {'ignore': 0}
    (root / 'result.json').write_text(json.dumps(content))
    return root


def string_ids(content: dict[str, Any]) -> dict[str, Any]:
    """The same with ids of texts, which are no numbers."""
    return {
        'images': [{**i, 'id': f'img-{i["id"]}'} for i in content['images']],
        'categories': [{**c, 'id': f'c{c["id"]}'} for c in content['categories']],
        'annotations': [
            {**a, 'id': f'a{a["id"]}', 'image_id': f'img-{a["image_id"]}',
             'category_id': f'c{a["category_id"]}'}
            for a in content['annotations']
        ],
    }  # fmt: skip


def _yolo_line(label: int, box: Box, size: tuple[int, int], polygon: bool) -> str:
    (x, y, w, h), (width, height) = box, size
    if polygon:
        points = [(x, y), (x + w, y), (x + w, y + h), (x, y + h)]
        return ' '.join([str(label), *(f'{a / width:.9f} {b / height:.9f}' for a, b in points)])
    middle = (x + w / 2) / width, (y + h / 2) / height
    return f'{label} {middle[0]:.9f} {middle[1]:.9f} {w / width:.9f} {h / height:.9f}'


def yolo(root: Path, made: Sequence[Scene], how: str = 'roboflow', polygon: bool = False) -> Path:
    """Text files of boxes or polygons; an image without objects has an empty file or none.

    Args:
        root: folder.
        made: scenes.
        how: ``roboflow`` (``train/images``, a wrong ``../train/images`` in data.yaml),
            ``ultralytics`` (``images/train``, ``path`` and names by number), or ``cvat``
            (``obj_train_data`` with lists and ``obj.names``).
        polygon: whether objects are polygons.
    """
    for split, chosen in _by_split(made):
        called = 'valid' if split == 'val' and how == 'roboflow' else split
        listed = []
        for number, scene in enumerate(chosen):
            folders = {
                'roboflow': (root / called / 'images', root / called / 'labels'),
                'ultralytics': (root / 'images' / called, root / 'labels' / called),
                'cvat': (root / f'obj_{split}_data',) * 2,
            }[how]
            image = write_image(scene, folders[0] / f'{scene.name}.png')
            listed.append(f'data/{image.relative_to(root)}')
            lines = [_yolo_line(label, box, scene.size, polygon) for label, box in scene.objects]
            if lines or number % 2:
                folders[1].mkdir(parents=True, exist_ok=True)
                (folders[1] / f'{scene.name}.txt').write_text('\n'.join(lines) + '\n')
        if how == 'cvat':
            (root / f'{split}.txt').write_text('\n'.join(listed) + '\n')
    if how == 'roboflow':
        (root / 'data.yaml').write_text(
            "train: ../train/images\nval: ../valid/images\n\nnc: 2\nnames: ['apple', 'berry']\n"
        )
    elif how == 'ultralytics':
        (root / 'data.yaml').write_text(
            'path: ../datasets/fruit\ntrain: images/train\nval: images/val\n'
            'names:\n  0: apple\n  1: berry\n'
        )
    else:
        (root / 'obj.names').write_text('apple\nberry\n')
        (root / 'obj.data').write_text('classes = 2\nnames = data/obj.names\n')
    return root


_XML = """<annotation><folder>x</folder><filename>{name}</filename>
<size><width>{width}</width><height>{height}</height><depth>3</depth></size>{objects}</annotation>
"""
_OBJECT = """<object><name>{label}</name><difficult>{difficult}</difficult><bndbox>
<xmin>{left}</xmin><ymin>{top}</ymin><xmax>{right}</xmax><ymax>{bottom}</ymax></bndbox></object>
"""


def voc(root: Path, made: Sequence[Scene], how: str = 'devkit') -> Path:
    """XML files: ``devkit`` counts pixels from 1, in VOC's folders; ``roboflow`` edges from 0."""
    devkit = how == 'devkit'
    for split, chosen in _by_split(made):
        for scene in chosen:
            called = 'valid' if split == 'val' else split
            folder = root / ('JPEGImages' if devkit else called)
            write_image(scene, folder / f'{scene.name}.jpg')
            objects = ''.join(
                _OBJECT.format(
                    label=CLASSES[label], difficult=0, left=x + devkit, top=y + devkit,
                    right=x + w, bottom=y + h,
                )
                for label, (x, y, w, h) in scene.objects
            )  # fmt: skip
            place = root / 'Annotations' if devkit else folder
            place.mkdir(parents=True, exist_ok=True)
            text = _XML.format(
                name=f'{scene.name}.jpg', width=scene.size[0], height=scene.size[1],
                objects=objects,
            )  # fmt: skip
            (place / f'{scene.name}.xml').write_text(text)
        if devkit:
            lists = root / 'ImageSets' / 'Main'
            lists.mkdir(parents=True, exist_ok=True)
            (lists / f'{split}.txt').write_text('\n'.join(scene.name for scene in chosen))
    return root


PALETTE = {(0, 0, 0): 'background', (200, 0, 0): 'apple', (0, 0, 200): 'berry'}


def coloured(mask: np.ndarray) -> np.ndarray:
    """Class numbers as RGB."""
    return np.array(list(PALETTE), np.uint8)[mask]


def masks(root: Path, made: Sequence[Scene], how: str = 'masks') -> Path:
    """Images with masks.

    Args:
        root: folder.
        made: scenes.
        how: ``masks`` (``images/<split>``, ``masks/<split>``, mixed endings), ``roboflow``
            (``x.jpg`` and ``x_mask.png`` in one folder), ``cityscapes``, ``labels`` (no splits,
            0 and 255), ``palette`` (VOC's folders and lists), ``colours`` (CVAT's labelmap) or
            ``plain_colours`` (no list of colours).
    """
    for split, chosen in _by_split(made):
        for number, scene in enumerate(chosen):
            name, mask = scene.name, scene.mask()
            picture = Image.fromarray(mask)
            image, place = {
                'masks': (f'images/{split}/{name}.{"JPG" if number % 2 else "png"}',
                          f'masks/{split}/{name}.png'),
                'roboflow': (f'{"valid" if split == "val" else split}/{name}.jpg',
                             f'{"valid" if split == "val" else split}/{name}_mask.png'),
                'cityscapes': (f'leftImg8bit/{split}/ulm/{name}_leftImg8bit.png',
                               f'gtFine/{split}/ulm/{name}_gtFine_labelTrainIds.png'),
                'labels': (f'images/{name}.png', f'labels/{name}.png'),
                'palette': (f'JPEGImages/{name}.jpg', f'SegmentationClass/{name}.png'),
                'colours': (f'JPEGImages/{name}.jpg', f'SegmentationClass/{name}.png'),
                'plain_colours': (f'{split}/images/{name}.png', f'{split}/masks/{name}_L.png'),
            }[how]  # fmt: skip
            if how == 'labels':
                picture = Image.fromarray(np.where(mask > 0, 255, 0).astype(np.uint8))
            elif how == 'palette':
                picture = _renumbered_palette(mask)
            elif how in ('colours', 'plain_colours'):
                picture = Image.fromarray(coloured(mask))
            write_image(scene, root / image)
            (root / place).parent.mkdir(parents=True, exist_ok=True)
            picture.save(root / place)
        if how in ('palette', 'colours'):
            lists = root / 'ImageSets' / 'Segmentation'
            lists.mkdir(parents=True, exist_ok=True)
            (lists / f'{split}.txt').write_text('\n'.join(scene.name for scene in chosen))
    if how == 'colours':
        lines = [f'{n}:{",".join(map(str, c))}::' for c, n in PALETTE.items()]
        (root / 'labelmap.txt').write_text('# label:color_rgb:parts:actions\n' + '\n'.join(lines))
    if how == 'roboflow':
        rows = '\n'.join(f'{i}, {name}' for i, name in enumerate(PALETTE.values()))
        (root / 'train' / '_classes.csv').write_text(f'Pixel Value, Class\n{rows}\n')
    return root


def _renumbered_palette(mask: np.ndarray) -> Image.Image:
    picture = Image.fromarray(mask, 'P')
    picture.putpalette([value for colour in PALETTE for value in colour])
    return picture


def class_list(root: Path, labels: Mapping[str, str], header: str = 'filename,label') -> Path:
    """``images/*.png`` and ``labels.csv``, names without their ending where it says ``id``."""
    lines = [header]
    for number, (name, label) in enumerate(labels.items()):
        scene = Scene(name, 'train', (40, 40), ((number % 2, (5, 5, 10, 10 + number % 9)),))
        write_image(scene, root / 'images' / f'{name}.png')
        lines.append(f'{name if header.startswith("id") else f"images/{name}.png"},{label}')
    (root / 'labels.csv').write_text('\n'.join(lines) + '\n', encoding='utf-8-sig')
    return root
