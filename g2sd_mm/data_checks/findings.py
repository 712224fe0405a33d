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
    'empty-file': Kind(True, 'files of zero bytes', 'fetch the file again, or remove it'),
    'truncated': Kind(True, 'files that end too early', 'fetch the file again, or remove it'),
    'unreadable': Kind(True, 'files that no decoder reads', 'fetch the file again, or remove it'),
    'damaged': Kind(
        True, 'damaged in the middle: decoded, but not to the right pixels',
        'fetch the file again, or remove it',
    ),
    'crashes-decoder': Kind(True, 'files that end the process that decodes them', 'remove it'),
    'too-large': Kind(True, 'more pixels than are read', 'scale it down'),
    # classes
    'empty-class': Kind(True, 'class folders without images', 'add images, or remove the folder'),
    'unknown-class': Kind(
        True, 'classes that training has not', 'move the folder, or add it to the training images'
    ),
    'conflicting-labels': Kind(
        True, 'the same pixels in several classes', 'decide for one class, remove the others'
    ),
    # annotations
    'malformed': Kind(True, 'entries that cannot be read', 'mend the entry, or remove it'),
    'duplicate-id': Kind(True, 'ids given twice', 'give each entry an id of its own'),
    'unknown-image': Kind(True, 'annotations of images that are not listed',
                          'list the image, or remove the annotation'),
    'unknown-category': Kind(True, 'annotations of categories that are not listed',
                             'list the category, or remove the annotation'),
    'lacking-category': Kind(True, 'classes of the config that the annotations have not',
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
    'degenerate-polygon': Kind(True, 'polygons without an area', 'draw it again, or remove it'),
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
    'stray-file': Kind(False, 'files that are no images', 'move it away'),
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
