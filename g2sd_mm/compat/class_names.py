"""Labels of class folders and COCO files follow the names that were asked for, in their order.

mmpretrain numbers class folders as they sort, and calls the numbers by the names in ``metainfo``
without looking at the folders. mmdet numbers categories as they stand in the JSON, which need not
be the order of ``metainfo``, nor that of another JSON.
"""

import functools
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from g2sd_mm.errors import DataError
from g2sd_mm.text import some


def name_class_folders(module: ModuleType) -> None:
    """Of ``mmpretrain.datasets``: the folders of a class are found by its name."""
    load = module.CustomDataset.load_data_list

    @functools.wraps(load)
    def load_data_list(self: Any) -> list[dict]:
        wanted = _wanted(self)
        if wanted is None:
            return load(self)
        del self._metainfo['classes']
        entries = load(self)
        found = self._metainfo['classes']
        self._metainfo['classes'] = wanted
        if self._metainfo.get('by_position'):
            return entries
        if strange := [name for name in found if name not in wanted]:
            raise DataError(
                f'{self.img_prefix} has class folders {some(strange)}, which are not among the '
                f'{len(wanted)} classes ({some(wanted, 8)}): give them the same names, or, if the '
                'numbers of the sorted folders are right, metainfo=dict(..., by_position=True)'
            )
        number = {label: wanted.index(name) for label, name in enumerate(found)}
        self.folder_to_idx = {name: wanted.index(name) for name in found}
        for entry in entries:
            entry['gt_label'] = number[entry['gt_label']]
        return entries

    module.CustomDataset.load_data_list = load_data_list


def _wanted(dataset: Any) -> tuple[str, ...] | None:
    """The names that somebody asked for; None if there are none, or they are not the folders'."""
    classes = dataset._metainfo.get('classes')
    # a class of data sets that knows its names has other ones than its folders: ImageNet's words
    fixed = type(dataset).METAINFO.get('classes')
    if not classes or fixed or dataset.ann_file or not dataset.with_label:
        return None
    return tuple(classes)


def order_categories(module: ModuleType) -> None:
    """Of ``mmdet.datasets.api_wrappers.coco_api``: labels are in the order that was asked for."""
    find = module.COCO.get_cat_ids

    @functools.wraps(find)
    def get_cat_ids(
        self: Any, cat_names: Any = (), sup_names: Any = (), cat_ids: Any = ()
    ) -> list[int]:
        found = find(self, cat_names=cat_names, sup_names=sup_names, cat_ids=cat_ids)
        if not cat_names or isinstance(cat_names, str) or sup_names or cat_ids:
            return found
        return _in_order(found, [self.cats[number]['name'] for number in found], cat_names)

    module.COCO.get_cat_ids = get_cat_ids


def _in_order(found: Sequence[int], names: Sequence[str], wanted: Sequence[str]) -> list[int]:
    """Category ids in the order of the wanted names.

    Raises:
        DataError: for a name that the file lacks (the labels of all after it would move), or has
            twice.
    """
    by_name = dict(zip(names, found, strict=True))
    if len(by_name) < len(found):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f'the annotations have two categories of the name {twice!r}: rename one')
    if lacking := [name for name in wanted if name not in by_name]:
        raise DataError(
            f'the annotations have no category {some([repr(n) for n in lacking], 5)}, which the '
            'data set lists: give the categories that they have as metainfo=dict(classes=(...)), '
            'or classes=(...) in the config'
        )
    return [by_name[name] for name in wanted]


def order_figures(module: ModuleType) -> None:
    """Figures by class in the order that was asked for: pycocotools sorts the ids."""
    for name in ('COCOeval', 'COCOevalMP'):
        if base := getattr(module, name, None):
            setattr(module, name, type(name, (_Ordered, base), {}))


class _Ordered:
    params: Any
    eval: Any

    def evaluate(self) -> None:
        self._asked = list(self.params.catIds)
        super().evaluate()  # type: ignore[misc]

    def accumulate(self, p: Any = None) -> None:
        super().accumulate(p)  # type: ignore[misc]
        ids = list(self.params.catIds)
        if not self.params.useCats or ids == self._asked:
            return
        order = [ids.index(number) for number in self._asked]
        for key in ('precision', 'recall', 'scores'):
            # [..., classes, areas, detections]
            self.eval[key] = self.eval[key][..., order, :, :]
