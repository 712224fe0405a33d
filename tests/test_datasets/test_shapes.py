"""The embedded data set: same bytes everywhere, annotations that agree, folders that are whole."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from g2sd_mm.datasets import shapes
from g2sd_mm.datasets.shapes import (
    CLASSES,
    VOID,
    depth,
    ensure_shapes,
    render_scene,
    store,
    textures,
)
from g2sd_mm.datasets.shapes import scene as scene_module
from g2sd_mm.datasets.shapes.__main__ import main
from g2sd_mm.datasets.shapes.outlines import class_outline
from g2sd_mm.datasets.shapes.scene import Patch, paint, rasterise

CLS = {'task': 'cls', 'train': 40, 'val': 20, 'size': 32}
DET = {'task': 'det', 'train': 24, 'val': 8, 'size': 96}


def digest(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder, by relative path."""
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.rglob('*')) if path.is_file()}


def stamps(folder: Path) -> list[int]:
    return [path.stat().st_mtime_ns for path in sorted(folder.rglob('*'))]


def run_python(code: str, *arguments: str, **options) -> subprocess.Popen:
    """Start another interpreter on the same checkout."""
    root = Path(shapes.__file__).parents[3]
    path = os.pathsep.join(filter(None, [str(root), os.environ.get('PYTHONPATH')]))
    return subprocess.Popen([sys.executable, '-c', code, *arguments],
                            env=os.environ | {'PYTHONPATH': path}, **options)


@pytest.fixture(scope='module')
def cls_folder(tmp_path_factory) -> Path:
    return ensure_shapes(tmp_path_factory.mktemp('cls'), **CLS)


@pytest.fixture(scope='module')
def det_folder(tmp_path_factory) -> Path:
    return ensure_shapes(tmp_path_factory.mktemp('det'), **DET)


@pytest.fixture(scope='module')
def depth_folder(tmp_path_factory) -> Path:
    return ensure_shapes(tmp_path_factory.mktemp('depth'), **DET | {'task': 'depth'})


@pytest.fixture(scope='module')
def scenes() -> list[scene_module.Scene]:
    return [render_scene('det', 'train', i, size=128) for i in range(60)]


class TestDeterminism:

    def test_two_generations_are_byte_identical(self, cls_folder, det_folder, tmp_path):
        assert digest(ensure_shapes(tmp_path, **CLS)) == digest(cls_folder)
        assert digest(ensure_shapes(tmp_path, **DET)) == digest(det_folder)

    def test_same_in_another_process_whatever_its_hash_seed(self, cls_folder, tmp_path):
        code = ('import sys; from g2sd_mm.datasets.shapes import ensure_shapes;'
                "ensure_shapes(sys.argv[1], task='cls', train=40, val=20, size=32)")
        assert run_python(code, str(tmp_path), stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL).wait() == 0
        assert digest(tmp_path / cls_folder.name) == digest(cls_folder)

    def test_independent_of_order_and_of_the_global_generator(self):
        np.random.seed(0)
        forward = [render_scene('cls', 'val', i, size=48).image for i in range(5)]
        np.random.seed(1)
        backward = [render_scene('cls', 'val', i, size=48).image for i in reversed(range(5))]
        for one, other in zip(forward, reversed(backward), strict=True):
            np.testing.assert_array_equal(one, other)

    @pytest.mark.parametrize('other', [
        {'seed': 1}, {'index': 13}, {'split': 'val'}, {'task': 'det'}])
    def test_every_coordinate_of_the_seed_matters(self, other):
        asked = {'task': 'cls', 'split': 'train', 'index': 3, 'size': 64, 'seed': 0}
        assert (render_scene(**asked).image != render_scene(**asked | other).image).mean() > 0.5

    def test_train_set_is_a_prefix_of_a_larger_one(self, cls_folder, tmp_path):
        larger = ensure_shapes(tmp_path, **CLS | {'train': 60})
        small, large = digest(cls_folder / 'train'), digest(larger / 'train')
        assert small.items() <= large.items()

    def test_no_photograph_is_fetched(self, monkeypatch):
        import socket
        monkeypatch.setattr(socket, 'socket', None)
        textures.texture_bank.cache_clear()
        assert len(textures.texture_bank()) == len(textures.PHOTOGRAPHS)

    def test_sets_are_those_that_records_were_made_on(self, cls_folder, det_folder):
        """A change of any pixel or annotation would make results of before another data set's."""
        found = {}
        for folder in (cls_folder, det_folder):
            meta = json.loads((folder / 'meta.json').read_text())
            found[meta['kind']] = [meta[f'{part}_sha256'][:16] for part in
                                   ('images', 'annotations')]
        assert found == {
            'cls': ['88bbbaea0d0eac1d', 'cf174d394b0d01b6'],
            'scenes': ['ba5b4d26cae1057f', 'fa75400e7652c6bf']}


class TestDepth:

    def test_pictures_are_those_of_detection(self, depth_folder, det_folder):
        folder = depth_folder
        assert folder.name.startswith('depth_')
        for split in ('train', 'val'):
            assert digest(folder / split) == digest(det_folder / split)

    def test_a_map_of_16_bits_in_millimetres_for_every_picture(self, depth_folder):
        folder = depth_folder
        for split, count in (('train', 24), ('val', 8)):
            names = sorted(path.name for path in (folder / split).iterdir())
            assert names == sorted(path.name for path in (folder / 'depth' / split).iterdir())
            assert len(names) == count
            listed = (folder / f'annotations/{split}.txt').read_text().split()
            assert listed == names
            with Image.open(folder / 'depth' / split / names[0]) as image:
                stored = np.asarray(image)
            scene = render_scene('depth', split, 0, size=96)
            assert stored.dtype == np.uint16
            np.testing.assert_allclose(stored / 1000, scene.depth, atol=0.0005)

    def test_what_hides_another_thing_is_nearer(self):
        """Piece by piece, back to front, in planes of one depth each."""
        hidden = 0
        for index in range(40):
            stream = np.random.SeedSequence([0, 1, 0, index])
            rng = np.random.Generator(np.random.PCG64(stream))
            pieces = scene_module._plan(rng, scene_module.SCENE_RECIPE, 96, index % 10)
            patches = [piece.patch for piece in pieces]
            for number in range(1, len(patches) + 1):
                before = depth.scene_depth(patches[:number - 1], 96)
                after = depth.scene_depth(patches[:number], 96)
                patch = patches[number - 1]
                covered = np.zeros((96, 96), bool)
                covered[patch.window] = patch.alpha >= 128
                np.testing.assert_array_equal(after[~covered], before[~covered])
                if covered.any():
                    assert len(np.unique(after[covered])) == 1
                    assert (after[covered] <= 0.9 * before[covered] + 1e-9).all()
                    hidden += (before[covered] < 7.9).any()
        assert hidden > 40  # pieces in front of other pieces than the backdrop

    def test_depth_agrees_with_the_masks_of_detection(self):
        """An object that is seen has one depth, nearer than the backdrop's."""
        seen = 0
        for index in range(20):
            scene = render_scene('depth', 'train', index, size=96)
            for instance in scene.instances:
                values = np.unique(scene.depth[instance.mask])
                assert len(values) == bool(instance.mask.any())
                assert (values < 8).all()
                seen += len(values)
            assert scene.depth.min() > depth.MIN_DEPTH and scene.depth.max() < depth.MAX_DEPTH
        assert seen > 40

    def test_what_looks_twice_as_large_is_half_as_far_unless_it_has_to_be_nearer(self):
        def square(side: int, left: int) -> Patch:
            return Patch(0, left, np.full((side, side), 255, np.uint8), side * side)

        alone = depth.scene_depth([square(16, 0), square(32, 32)], 96)
        assert alone[0, 0] == pytest.approx(0.8 * 96 / 16)
        assert alone[0, 32] == pytest.approx(0.8 * 96 / 32)
        # small, and so far, but in front of a large one
        front = depth.scene_depth([square(64, 0), square(16, 0)], 96)
        assert front[20, 20] == pytest.approx(0.8 * 96 / 64)
        assert front[0, 0] == pytest.approx(0.9 * front[20, 20])

    def test_other_tasks_have_no_depth(self, scenes):
        assert all(scene.depth is None for scene in scenes)

    def test_a_set_without_a_map_is_made_anew(self, tmp_path):
        folder = ensure_shapes(tmp_path, task='depth', train=2, val=1, size=32)
        whole = digest(folder)
        next((folder / 'depth/train').iterdir()).unlink()
        assert digest(ensure_shapes(tmp_path, task='depth', train=2, val=1, size=32)) == whole


class TestClassification:

    def test_layout_balance_and_list_agree(self, cls_folder):
        for split, count in (('train', 40), ('val', 20)):
            listed = [line.rsplit(' ', 1) for line in
                      (cls_folder / f'annotations/{split}.txt').read_text().splitlines()]
            counts = Counter(int(label) for _, label in listed)
            assert counts == dict.fromkeys(range(10), count // 10)
            for name, label in listed:
                assert name.split('/')[0] == CLASSES[int(label)]
                with Image.open(cls_folder / split / name) as image:
                    assert image.size == (32, 32) and image.mode == 'RGB'
            assert sorted(p.name for p in (cls_folder / split).iterdir()) == sorted(CLASSES)
            assert len(list((cls_folder / split).rglob('*.png'))) == count

    def test_classes_are_in_folder_order(self):
        assert list(CLASSES) == sorted(CLASSES) and len(CLASSES) == 10

    def test_uneven_counts_differ_by_one_at_most(self, tmp_path):
        folder = ensure_shapes(tmp_path, task='cls', train=13, val=4, size=32)
        counts = [len(list((folder / 'train' / name).iterdir())) for name in CLASSES]
        assert sum(counts) == 13 and max(counts) - min(counts) == 1

    def test_labelled_object_dominates(self):
        hidden = 0
        for index in range(200):
            scene = render_scene('cls', 'train', index, size=64)
            areas = Counter()
            for instance in scene.instances:
                areas[instance.label] += int(instance.mask.sum())
                if instance.label == scene.label:
                    hidden += instance.visible < 0.97
                    assert instance.visible >= scene_module.CLS_RECIPE.min_visible
                    rows, columns = np.nonzero(instance.mask)
                    assert np.hypot(rows.mean() - 32, columns.mean() - 32) < 20
            assert areas.most_common(1)[0][0] == scene.label == index % 10
        assert hidden > 20  # occlusion really happens

    def test_mean_colour_does_not_give_the_class_away(self):
        means = np.array([render_scene('cls', 'train', i, size=32).image.mean((0, 1))
                          for i in range(400)])
        labels = np.arange(400) % 10
        centres = np.array([means[:200][labels[:200] == c].mean(0) for c in range(10)])
        guess = np.linalg.norm(means[200:, None] - centres, axis=2).argmin(1)
        assert (guess == labels[200:]).mean() < 0.25


class TestScenes:

    @pytest.mark.parametrize('split', ['train', 'val'])
    def test_coco_agrees_with_itself_and_with_the_semantic_masks(self, det_folder, split, capsys):
        from pycocotools.coco import COCO
        coco = COCO(str(det_folder / f'annotations/instances_{split}.json'))
        assert [c['name'] for c in coco.loadCats(range(1, 11))] == list(CLASSES)
        assert min(coco.anns) == 1  # id 0 would be dropped by COCO's matching
        for image_id, image in coco.imgs.items():
            with Image.open(det_folder / split / image['file_name']) as picture:
                assert picture.size == (image['width'], image['height']) == (96, 96)
            with Image.open(det_folder / 'masks' / split / image['file_name']) as picture:
                semantic = np.array(picture)
            assert semantic.dtype == np.uint8 and semantic.shape == (96, 96)
            rebuilt = np.zeros_like(semantic)
            for record in coco.loadAnns(coco.getAnnIds(imgIds=image_id)):
                mask = coco.annToMask(record).astype(bool)
                assert not rebuilt[mask].any()  # visible masks never overlap
                rebuilt[mask] = record['category_id']
                rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
                assert record['area'] == mask.sum() > 0 and record['iscrowd'] == 0
                assert record['bbox'] == [columns[0], rows[0], columns[-1] - columns[0] + 1,
                                          rows[-1] - rows[0] + 1]
            scored = semantic != VOID
            np.testing.assert_array_equal(semantic[scored], rebuilt[scored])
            assert not rebuilt[~scored].any()

    def test_detection_and_segmentation_share_a_folder(self, det_folder):
        assert ensure_shapes(det_folder.parent, **DET | {'task': 'seg'}) == det_folder

    def test_occlusion_happens_and_the_hidden_are_left_out(self, scenes):
        instances = [i for s in scenes for i in s.instances]
        visible = np.array([i.visible for i in instances])
        assert (visible < 0.9).mean() > 0.15
        assert (visible > 0.99).mean() > 0.3
        hidden = [(s, i) for s in scenes for i in s.instances if not i.annotated and i.mask.any()]
        for scene, instance in hidden:
            assert (scene.semantic()[instance.mask] == VOID).all()
        assert visible.max() <= 1

    def test_several_objects_and_balanced_classes(self, scenes):
        counts = Counter(i.label for s in scenes for i in s.instances)
        assert set(counts) == set(range(10))
        assert max(counts.values()) < 2 * min(counts.values())
        assert all(any(i.annotated for i in s.instances) for s in scenes)

    def test_hidden_instances_become_void(self):
        mask = np.zeros((8, 8), bool)
        mask[0, 0] = True
        scene = scene_module.Scene(np.zeros((8, 8, 3), np.uint8), 0, (
            scene_module.Instance(4, mask, 0.1), scene_module.Instance(4, mask.T[::-1], 0.2)))
        assert scene.semantic()[0, 0] == VOID and scene.semantic()[7, 0] == 5
        assert np.count_nonzero(scene.semantic()) == 2


class TestRaster:

    def test_area_of_a_square_is_exact_to_the_antialiasing(self):
        square = np.array([10 + 10j, 30 + 10j, 30 + 30j, 10 + 30j])
        patch = rasterise([square], 40)
        assert patch.full_area == 400
        assert patch.alpha.sum() / 255 == pytest.approx(400, rel=0.03)

    def test_even_odd_rule_leaves_the_hole(self):
        angle = np.exp(2j * np.pi * np.arange(90) / 90)
        patch = rasterise([32 + 32j + 20 * angle, 32 + 32j + 10 * angle], 64)
        assert patch.full_area == pytest.approx(np.pi * 300, rel=0.04)

    @pytest.mark.parametrize('centre', [-3 + 20j, 43 + 20j, 20 - 3j, 20 + 43j, 90 + 90j, -50 - 50j])
    def test_clipping_keeps_the_full_area(self, centre):
        square = centre + np.array([-5 - 5j, 5 - 5j, 5 + 5j, -5 + 5j])
        patch = rasterise([square], 40)
        assert patch.full_area == 100
        seen = np.zeros((40, 40), bool)
        seen[patch.window] = patch.alpha >= 128
        x = np.clip([centre.real - 5, centre.real + 5], 0, 40)
        y = np.clip([centre.imag - 5, centre.imag + 5], 0, 40)
        assert seen.sum() == (x[1] - x[0]) * (y[1] - y[0])

    def test_painting_blends_in_integers(self):
        canvas = np.full((40, 40, 3), 100, np.uint8)
        patch = rasterise([np.array([10 + 10j, 30.5 + 10j, 30.5 + 30j, 10 + 30j])], 40)
        paint(canvas, patch, np.full((*patch.alpha.shape, 3), 200, np.uint8))
        assert (canvas[12:28, 12:28] == 200).all() and (canvas[:8] == 100).all()
        assert 100 < canvas[20, 30, 0] < 200

    def test_outlines_stay_near_the_unit_circle(self):
        rng = np.random.default_rng(0)
        for label in range(10):
            for contour in class_outline(rng, label):
                assert contour.dtype == np.complex128
                assert 0.4 < np.abs(contour).max() < 1.5


class TestFolder:

    def test_reuse_does_not_generate_and_does_not_write(self, cls_folder, monkeypatch):
        monkeypatch.setattr(store, 'write_set', lambda *a, **k: pytest.fail('generated again'))
        before = stamps(cls_folder)
        assert ensure_shapes(str(cls_folder.parent), **CLS) == cls_folder
        assert stamps(cls_folder) == before

    def test_names_and_meta(self, cls_folder, det_folder):
        assert cls_folder.name == 'cls_32px_40+20_s0'
        assert det_folder.name == 'scenes_96px_24+8_s0'
        meta = json.loads((det_folder / 'meta.json').read_text())
        assert meta['classes'] == list(CLASSES) and meta['version'] == shapes.VERSION
        assert len(meta['annotations_sha256']) == len(meta['images_sha256']) == 64

    def damage(self, folder: Path, how: str) -> None:
        meta = folder / 'meta.json'
        if how == 'no meta':
            meta.unlink()
        elif how == 'half a meta':
            meta.write_text(meta.read_text()[:40])
        elif how == 'older version':
            meta.write_text(meta.read_text().replace('"version": ', '"version": -'))
        elif how == 'image lost':
            next((folder / 'val').rglob('*.png')).unlink()
        elif how == 'annotation changed':
            next((folder / 'annotations').iterdir()).write_text('{}')

    @pytest.mark.parametrize('how', ['no meta', 'half a meta', 'older version', 'image lost',
                                     'annotation changed'])
    def test_damaged_folders_are_made_anew(self, cls_folder, tmp_path, how):
        copy = tmp_path / cls_folder.name
        shutil.copytree(cls_folder, copy)
        self.damage(copy, how)
        assert ensure_shapes(tmp_path, **CLS) == copy
        assert digest(copy) == digest(cls_folder)
        assert [p.name for p in tmp_path.iterdir() if not p.name.endswith('.lock')] == [copy.name]

    def test_failure_half_way_leaves_nothing(self, tmp_path, monkeypatch):
        monkeypatch.setattr(store, 'write_set', self.interrupted)
        with pytest.raises(KeyboardInterrupt):
            ensure_shapes(tmp_path, **CLS)
        assert [p.name for p in tmp_path.iterdir() if not p.name.endswith('.lock')] == []

    @staticmethod
    def interrupted(folder: Path, *_):
        (folder / 'train').mkdir()
        raise KeyboardInterrupt

    def test_killed_half_way_then_generated_whole(self, tmp_path):
        process = multiprocessing.get_context('fork').Process(
            target=ensure_shapes, args=(tmp_path,),
            kwargs={'task': 'det', 'train': 300, 'val': 2, 'size': 32})
        process.start()
        deadline = time.monotonic() + 15
        while not list(tmp_path.glob('.*tmp-*/train/*.png')) and time.monotonic() < deadline:
            assert process.is_alive()
            time.sleep(0.01)
        process.kill()
        process.join()
        folder = tmp_path / 'scenes_32px_300+2_s0'
        assert list(tmp_path.glob('.*tmp-*')) and not folder.exists()
        assert ensure_shapes(tmp_path, task='det', train=300, val=2, size=32) == folder
        assert not list(tmp_path.glob('.*tmp-*'))
        assert len(list((folder / 'train').iterdir())) == 300

    def test_started_together_only_one_generates(self, tmp_path, monkeypatch, cls_folder):
        calls = []

        def counted(*arguments):
            calls.append(1)
            time.sleep(0.1)
            return write(*arguments)

        write = store.write_set
        monkeypatch.setattr(store, 'write_set', counted)
        with ThreadPoolExecutor(3) as pool:
            folders = list(pool.map(lambda _: ensure_shapes(tmp_path, **CLS), range(3)))
        assert len(set(folders)) == 1 and len(calls) == 1
        assert digest(folders[0]) == digest(cls_folder)

    def test_without_locks_the_slower_process_keeps_the_faster_ones_folder(
            self, tmp_path, monkeypatch, cls_folder):
        asked = store.check_parameters('cls', 40, 20, 32, 0)
        final = tmp_path / cls_folder.name
        original = store._put_in_place

        def late(made, folder, wanted):
            shutil.copytree(cls_folder, folder)
            original(made, folder, wanted)

        monkeypatch.setattr(store, '_put_in_place', late)
        store._generate(tmp_path, final, asked, held=False)
        assert stamps(final) == stamps(cls_folder)  # the copy kept the times of the original
        assert [p.name for p in tmp_path.iterdir()] == [final.name]


class TestErrors:

    @pytest.mark.parametrize(('change', 'message'), [
        ({'size': 31}, 'size must be a whole number >= 32, got 31'),
        ({'size': 64.0}, 'size must be a whole number >= 32, got 64.0'),
        ({'train': 0}, 'train must be a whole number >= 1, got 0'),
        ({'val': -3}, 'val must be a whole number >= 1, got -3'),
        ({'seed': -1}, 'seed must be a whole number >= 0, got -1'),
        ({'train': True}, 'train must be a whole number >= 1, got True'),
        ({'task': 'pose'}, "task must be one of cls, det, seg, depth, got 'pose'"),
    ])
    def test_bad_arguments(self, tmp_path, change, message):
        with pytest.raises(ValueError, match=message) as caught:
            ensure_shapes(tmp_path, **CLS | change)
        assert '\n' not in str(caught.value) and not list(tmp_path.iterdir())

    def test_root_is_a_file(self, tmp_path):
        root = tmp_path / 'file'
        root.write_text('')
        for place in (root, root / 'below'):
            with pytest.raises(PermissionError, match=r'Shapes: cannot write to .*file'):
                ensure_shapes(place, **CLS)

    def test_root_cannot_be_written(self, tmp_path, monkeypatch):
        def refuse(*_, **__):
            raise PermissionError(13, 'Permission denied')

        monkeypatch.setattr(Path, 'mkdir', refuse)
        with pytest.raises(PermissionError, match=r'cannot write to .* \(Permission denied\)'):
            ensure_shapes(tmp_path / 'locked', **CLS)

    def test_no_scikit_image(self, monkeypatch):
        textures.texture_bank.cache_clear()
        monkeypatch.setattr(textures.importlib.util, 'find_spec', lambda _: None)
        with pytest.raises(ModuleNotFoundError, match='pip install scikit-image'):
            textures.texture_bank()

    def test_photograph_missing(self, monkeypatch, tmp_path):
        textures.texture_bank.cache_clear()
        monkeypatch.setattr(textures, '_photograph_folder', lambda: tmp_path)
        with pytest.raises(FileNotFoundError, match=r'bundle a readable .*astronaut\.png'):
            textures.texture_bank()


class TestCommandLine:

    def test_a_set_is_generated(self, tmp_path, capsys):
        assert main(['--root', str(tmp_path), '--task', 'seg', '--train', '2', '--val', '1',
                     '--size', '32']) == 0
        assert (tmp_path / 'scenes_32px_2+1_s0' / 'masks/val/000001.png').is_file()

    def test_user_error_is_one_line(self, tmp_path, capsys):
        assert main(['--root', str(tmp_path), '--size', '8']) == 2
        error = capsys.readouterr().err
        assert error == 'error: Shapes: size must be a whole number >= 32, got 8\n'
