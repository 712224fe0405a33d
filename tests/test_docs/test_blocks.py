"""Blocks of the documentation: how they are found, run and compared."""

from __future__ import annotations

import pytest

from ..helpers.doc_blocks import Block, blocks_of, check_output, is_slow, run_blocks

PAGE = """
Text.

<!-- file: my/name.txt -->
```
world
```

<!-- runnable -->
```bash
echo "hello $(cat my/name.txt) 1"
```

<!-- output -->
```
hello world 2
```

```bash
exit 7
```
"""


def test_marked_blocks_are_found_in_order_and_others_are_not():
    blocks = blocks_of(PAGE)
    assert [block.role for block in blocks] == ['file', 'runnable', 'output']
    assert blocks[0] == Block('file', 'my/name.txt', '', 'world\n')
    assert not is_slow(blocks)
    assert is_slow(blocks_of(PAGE.replace('<!-- runnable -->', '<!-- runnable: slow -->')))


def test_a_page_runs_in_one_folder(tmp_path):
    run_blocks(blocks_of(PAGE), tmp_path)


@pytest.mark.parametrize(
    ('old', 'new', 'message'),
    [
        ('hello world 2', 'hello moon 2', 'not printed'),
        ('echo "hello', 'false; echo "hello', 'ended with 1'),
    ],
)
def test_a_page_that_lies_fails(tmp_path, old, new, message):
    with pytest.raises(AssertionError, match=message):
        run_blocks(blocks_of(PAGE.replace(old, new)), tmp_path)


def test_python_is_run_too(tmp_path):
    page = '<!-- runnable -->\n```python\nopen("made", "w").write("x")\n```\n'
    run_blocks(blocks_of(page), tmp_path)
    assert (tmp_path / 'made').read_text() == 'x'


@pytest.mark.parametrize(
    ('page', 'message'),
    [
        ('<!-- runnable -->\n\n```bash\ntrue\n```\n', 'no fenced block'),
        ('<!-- runnable -->\n```yaml\na: 1\n```\n', "'yaml' is marked runnable"),
    ],
)
def test_a_wrong_mark_is_told(page, message):
    with pytest.raises(ValueError, match=message):
        blocks_of(page)


def test_numbers_and_left_out_lines_are_not_compared():
    check_output('top-1 84.00 %\n...\nlast', 'top-1 12.5 %\nmore\nlast\n')
