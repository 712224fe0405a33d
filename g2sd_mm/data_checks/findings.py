"""What can be wrong with a data set, how bad it is, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """One thing that can be wrong.

    harmful: it stops a run or teaches something wrong; else it is worth knowing.
    title: what a report calls it.
    remedy: what to do with each sample.
    """

    harmful: bool
    title: str
    remedy: str


#: In the order of a report: what is worst comes first.
KINDS: dict[str, Kind] = {
    # files
    'missing-image': Kind(True, 'images that are not there', 'fetch the image, or drop its entry'),
    'broken-link': Kind(
        True, 'links that lead to nothing: training goes on without them',
        'bring the files back to where they lead, or remove the links',
    ),
    'empty-file': Kind(True, 'files of zero bytes', 'fetch the file again, or remove it'),
    'truncated': Kind(True, 'files that end too early', 'fetch the file again, or remove it'),
    'unreadable': Kind(True, 'files that no decoder reads', 'fetch the file again, or remove it'),
    'damaged': Kind(
        True, 'damaged in the middle: decoded, but not to the right pixels',
        'fetch the file again, or remove it',
    ),
    'crashes-decoder': Kind(True, 'files that end the process that decodes them', 'remove it'),
    'too-large': Kind(True, 'more pixels than are read', 'scale it down'),
    # labels as a whole
    'nothing-to-learn': Kind(
        True, 'training labels with nothing to learn from', 'add labels that count, or check the '
        "config's classes",
    ),
    'no-masks': Kind(
        True, 'training objects without masks in a pipeline that loads masks: all are ignored',
        'add masks, or take boxes_only=False out of the config; of a model that is nothing without '
        'masks, take one that has boxes too (docs/own_coco.md)',
    ),
    'mixed-masks': Kind(
        True, 'some objects have a mask and some have none',
        'add the masks that lack, remove those objects, or decide with --cfg-options '
        'boxes_only=True (boxes alone are learnt and evaluated) or boxes_only=False (objects '
        'without a mask are ignored in training)',
    ),
    'all-crowd': Kind(
        True, 'training objects that are all crowd regions, which are ignored',
        'set iscrowd to 0 for what is one object',
    ),
    'nothing-to-evaluate': Kind(
        True, 'validation labels with nothing to compute a metric from',
        'add labels, or leave validation out',
    ),
    'one-class': Kind(
        True, 'labels of a single class: always answering it is right',
        'add images or masks of the other classes; for class folders, give the folder that holds '
        'one folder for each class',
    ),
    # classes
    'empty-class': Kind(True, 'class folders without images', 'add images, or remove the folder'),
    'unknown-class': Kind(True, 'classes that training has not',
                          'remove them, or add images of them to the training images'),
    'conflicting-labels': Kind(
        True, 'the same pixels in several classes', 'decide for one class, remove the others'
    ),
    'class-without-labels': Kind(False, 'classes that no training label has: they are not learnt',
                                 'add images of them, or take them out of the classes'),
    'class-not-evaluated': Kind(
        False, 'classes that no validation label has: the metric leaves them out',
        'add images of them, if the metric should be of all classes',
    ),
    # annotations
    'malformed': Kind(True, 'entries that cannot be read', 'mend the entry, or remove it'),
    'duplicate-id': Kind(True, 'ids given twice', 'give each entry an id of its own'),
    'unknown-image': Kind(True, 'annotations of images that are not listed',
                          'list the image, or remove the annotation'),
    'unknown-category': Kind(True, 'annotations of categories that are not listed',
                             'list the category, or remove the annotation'),
    'lacking-category': Kind(True, 'classes of config or training that the annotations have not',
                             'mend the name in the config or in the annotations'),
    'outside-folder': Kind(True, 'file names that lead out of the image folder',
                           'give names below the image folder'),
    'size-mismatch': Kind(True, 'images of another size than their annotations',
                          'annotate the image as it is, or bring it to the annotated size'),
    'rotated-annotated': Kind(
        True, 'EXIF-rotated images with annotations: turned when read, their annotations are not',
        'store the pixels upright without the EXIF tag, as they were annotated',
    ),
    'box-outside': Kind(True, 'boxes that lie outside of their image', 'remove the annotation'),
    'degenerate-box': Kind(True, 'boxes thinner than a pixel', 'remove the annotation'),
    'box-off-mask': Kind(
        True, 'boxes that are not around their polygons',
        'write bbox as [x, y, width, height] of the polygons',
    ),
    'listed-again': Kind(
        True, 'images with several entries: each is read with a part of the objects',
        'give the image one entry, and its id to all of its annotations',
    ),
    'repeated-object': Kind(
        False, 'objects that are there several times: found once, the others count as missed',
        'remove all but one',
    ),
    'degenerate-polygon': Kind(True, 'polygons without an area', 'draw it again, or remove it'),
    'lacking-mask': Kind(
        True, 'objects without a mask, which the evaluation of masks cannot read',
        'draw the mask, or learn and evaluate boxes alone: --cfg-options boxes_only=True',
    ),
    'boxes-alone': Kind(
        False, 'boxes alone are learnt and evaluated, without a mask head',
        'nothing, if there should be no masks',
    ),
    'ignored-object': Kind(False, 'training objects without a mask: they are ignored',
                           'draw the masks, or remove the objects'),
    'mostly-ignored': Kind(False, 'more training objects are ignored than count',
                           'look at some of them'),
    'crowd-regions': Kind(
        False, 'objects marked as crowd regions: they are neither learnt nor judged',
        'nothing, if that is meant; set iscrowd to 0 for what is one object (--read-as '
        'crowd=objects does so for a whole folder)',
    ),
    'filled-in': Kind(False, 'optional entries that are missing and filled in when read',
                      'nothing, if the values are right'),
    'box-beyond': Kind(False, 'boxes that reach beyond the image (cut off when read)',
                       'clip the box'),
    'polygon-beyond': Kind(False, 'polygons that reach beyond the image (cut off when read)',
                           'clip the polygon'),
    # masks
    'missing-mask': Kind(True, 'images without a mask', 'add the mask, or remove the image'),
    'stray-mask': Kind(False, 'masks without an image', 'add the image, or remove the mask'),
    'coloured-mask': Kind(True, 'masks of colours', 'convert colours to class numbers'),
    'label-range': Kind(True, 'labels without a class',
                        'mend the labels, or the number of classes'),
    'unlabelled-mask': Kind(False, 'masks of ignored pixels alone',
                            'remove it: it teaches nothing'),
    # depth maps
    'missing-depth': Kind(True, 'images without a depth map', 'add the map, or remove the image'),
    'stray-depth': Kind(False, 'depth maps without an image', 'add the image, or remove the map'),
    'depth-format': Kind(
        True, 'files that are no map of depth: one number a pixel, of 16 bits or more',
        'write the numbers themselves as 16-bit PNG or .npy [height, width], not a picture of them',
    ),
    'depth-not-finite': Kind(True, 'depth maps with numbers that are no depth',
                             'write 0 where depth is not known: such pixels are left out'),
    'depth-scale': Kind(True, 'depth that does not fit its range: off by a factor',
                        'mend scale or max_depth of LoadDepthAnnotations, or the file'),
    'depth-fill': Kind(True, 'depth maps whose largest number stands alone, as for "not known"',
                       'write 0 there, or list it in invalid of LoadDepthAnnotations'),
    'no-depth': Kind(True, 'depth maps without a pixel in range: nothing is known',
                     'remove it with its image, or mend min_depth and max_depth'),
    # splits
    'leakage': Kind(True, 'the same pixels in training and evaluation', 'remove one of them'),
    'duplicate': Kind(False, 'the same pixels several times in one split', 'remove all but one'),
    # images that can be read, but look at them
    'cmyk': Kind(False, 'CMYK images: decoders differ in their colours', 'convert it to RGB'),
    '16-bit': Kind(False, 'more than 8 bits a channel: the lower ones are cut off',
                   'scale it to 8 bits, from black to white'),
    'rotated': Kind(False, 'EXIF-rotated images: turned upright when read',
                    'store the pixels upright without the EXIF tag'),
    'wrong-ending': Kind(False, 'files of another format than their name says', 'rename it'),
    'mixed-sizes': Kind(True, 'images of several sizes, which a batch cannot hold',
                        'set batch_size=1 for this loader, or resize in its pipeline'),
    'smaller-than-crop': Kind(
        True, 'images smaller than the crop: a batch cannot hold them beside others',
        'resize before the crop, pad (pad_if_needed=True of RandomCrop, auto_pad=True of '
        'CenterCrop), or remove it',
    ),
    'unread-format': Kind(True, 'images in formats that are not read', 'convert it to PNG'),
    'other-ending': Kind(True, 'images of another ending than img_suffix: they are not read',
                         'rename it, or set img_suffix'),
    'loose-image': Kind(True, 'images in no class folder: they are not read',
                        'move it into the folder of its class'),
    'stray-file': Kind(False, 'files that are no images', 'move it away'),
    'passed-over': Kind(False, 'hidden and system files: they are not read', 'nothing'),
    'unused-category': Kind(False, 'categories without an annotation', 'nothing, if it is meant'),
}  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with one sample.

    kind: key of :data:`KINDS`.
    path: the file that it is about.
    detail: what exactly, in a few words; may be empty.
    """

    kind: str
    path: str
    detail: str = ''

    @property
    def harmful(self) -> bool:
        """Whether it makes the check fail."""
        return KINDS[self.kind].harmful

    @property
    def line(self) -> str:
        """All of it in one line, for a log or an error."""
        kind, detail = KINDS[self.kind], f' ({self.detail})' if self.detail else ''
        return f'{self.path}: {kind.title}{detail}: {kind.remedy}'
