"""Any stock config can be distilled: what ``docs/compatibility.md`` says is so."""

from __future__ import annotations

import pytest

from . import configs, data, features, matrix


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    with matrix.unformatted():
        yield data.write_data(tmp_path_factory.mktemp('stock') / 'data')


def test_the_page_shows_the_results():
    results = matrix.load()
    assert set(results['configs']) == {matrix.key(row) for row in configs.ROWS}
    wanted = {f'{lib} {feature}' for lib in features.LIBRARIES for feature in features.FEATURES}
    assert set(results['features']) == wanted
    page = matrix.PAGE.read_text()
    assert page == matrix.with_tables(page, results), 'python -m tests.stock writes it'


def test_all_but_what_a_library_lacks_works():
    results = matrix.load()
    assert all(map(matrix.works, results['configs'].values()))
    not_working = {name for name, found in results['features'].items() if not matrix.works(found)}
    assert not_working == {f'{lib} {feature}' for feature, lib in features.NOT_UPSTREAM}
    for name in not_working:  # in one line, before anything is read
        (step,) = results['features'][name].items()
        assert step[0] == 'train' and step[1].startswith('UserError: train_dataloader: ')


@pytest.mark.parametrize('row', configs.DIAGONAL, ids=lambda row: row.name)
def test_a_config_of_the_diagonal(row, images, tmp_path):
    matrix.check(matrix.run_row(row, images, tmp_path), matrix.load()['configs'][matrix.key(row)])


REST = [row for row in configs.ROWS if row not in configs.DIAGONAL]


@pytest.mark.slow
@pytest.mark.parametrize('row', REST, ids=lambda row: row.name)
def test_a_config(row, images, tmp_path):
    matrix.check(matrix.run_row(row, images, tmp_path), matrix.load()['configs'][matrix.key(row)])


@pytest.mark.slow
@pytest.mark.parametrize('library', features.LIBRARIES)
@pytest.mark.parametrize('feature', features.FEATURES)
def test_a_change(feature, library, images, tmp_path):
    found = matrix.run_feature(feature, library, images, tmp_path)
    matrix.check(found, matrix.load()['features'][f'{library} {feature}'])
