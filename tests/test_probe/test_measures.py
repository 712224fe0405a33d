"""Measures against plain NumPy, and against scikit-learn and mmpretrain where they are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import log_softmax

from g2sd_mm.probe import measures
from g2sd_mm.probe.measures import confusion, dense_probe, intersections

CLASSES = 4


@pytest.fixture(scope='module')
def sets() -> tuple[torch.Tensor, ...]:
    """Clouds that overlap: training and validation features with their labels."""
    generator = torch.Generator().manual_seed(0)
    middles = torch.randn(CLASSES, 12, generator=generator)

    def cloud(number: int) -> tuple[torch.Tensor, torch.Tensor]:
        labels = torch.arange(number) % CLASSES
        return middles[labels] + 1.5 * torch.randn(number, 12, generator=generator) + 2, labels

    return (*cloud(120), *cloud(80))


def arrays(sets) -> list[np.ndarray]:
    return [tensor.numpy() for tensor in sets]


def cosines(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    lengths = [np.linalg.norm(z.astype(float), axis=1) for z in (x, y)]
    return (x @ y.T) / np.outer(*lengths)


@pytest.mark.parametrize('k', [1, 3, 20])
def test_a_class_without_a_vote_is_not_among_the_five_best(k):
    generator = torch.Generator().manual_seed(0)
    train, val = (torch.randn(number, 8, generator=generator) for number in (60, 90))
    labels, val_labels = torch.arange(60) % 10, torch.arange(90) % 10
    nearest = torch.from_numpy(np.argsort(-cosines(val.numpy(), train.numpy()), axis=1)[:, :k])
    found = measures.k_nearest(train, labels, val, val_labels, k=k)
    voted = (labels[nearest] == val_labels[:, None]).any(dim=1)
    assert found['top1'] <= found['top5'] <= 100 * voted.double().mean().item() + 1e-3
    if k <= 5:  # all that got a vote are among them
        assert found['top5'] == pytest.approx(100 * voted.double().mean().item(), abs=1e-3)


def test_a_single_image_has_a_linear_layer_too():
    found = measures.linear_probe(
        torch.ones(1, 3), torch.tensor([1]), torch.zeros(2, 3), torch.tensor([1, 1])
    )
    assert found['top1'] == 100.0  # it knows one class


@pytest.mark.parametrize('centred', [None, 'train', 'each'])
@pytest.mark.parametrize('k', [1, 20, 500])
def test_neighbours_vote_as_in_the_formula(sets, k, centred):
    train, labels, val, val_labels = arrays(sets)
    middle = train.mean(axis=0) if centred else 0
    own = val.mean(axis=0) if centred == 'each' else middle
    similarity = cosines(val - own, train - middle)
    right = 0
    for row, label in zip(similarity, val_labels, strict=True):
        nearest = np.argsort(-row)[:k]
        votes = [np.exp(row[nearest][labels[nearest] == c] / 0.07).sum() for c in range(CLASSES)]
        right += int(np.argmax(votes) == label)
    found = measures.k_nearest(*sets, k=k, centred=centred)
    assert found['top1'] == pytest.approx(100 * right / len(val)) and 30 < found['top1'] < 100


def test_neighbours_do_not_overflow_at_a_low_temperature(sets):
    one = measures.k_nearest(*sets, k=1)['top1']
    assert measures.k_nearest(*sets, k=20, temperature=1e-4)['top1'] == one


def test_neighbours_agree_with_scikit_learn(sets):
    neighbors = pytest.importorskip('sklearn.neighbors')
    train, labels, val, val_labels = arrays(sets)
    model = neighbors.KNeighborsClassifier(
        20, metric='cosine', algorithm='brute', weights=lambda d: np.exp((1 - d) / 0.07)
    ).fit(train.astype(float), labels)
    votes = measures.neighbour_votes(
        measures.unit(sets[0]), sets[1], measures.unit(sets[2]), 20, 0.07, CLASSES
    )
    shares = (votes / votes.sum(dim=1, keepdim=True)).numpy()
    assert np.allclose(shares, model.predict_proba(val.astype(float)), atol=1e-4)
    assert measures.k_nearest(*sets)['top1'] == 100 * model.score(val.astype(float), val_labels)


@pytest.mark.parametrize('strength', [1e-3, 1.0])
def test_the_linear_layer_is_where_the_objective_is_flat(sets, strength):
    train, labels, *_ = arrays(sets)
    w, b = (t.numpy() for t in measures.logistic_regression(*sets[:2], CLASSES, strength))

    def objective(w: np.ndarray, b: np.ndarray) -> float:
        losses = -log_softmax(train.astype(float) @ w.T + b, axis=1)[range(len(labels)), labels]
        return 0.5 * (w**2).sum() + strength * losses.sum()

    lowest, random = objective(w, b), np.random.default_rng(0)
    for _ in range(20):
        step = 1e-2 * random.normal(size=w.shape), 1e-2 * random.normal(size=b.shape)
        assert objective(w + step[0], b + step[1]) > lowest


def test_the_linear_layer_is_that_of_scikit_learn(sets):
    linear_model = pytest.importorskip('sklearn.linear_model')
    train, labels, val, val_labels = arrays(sets)
    for strength in (1e-3, 0.1, 10.0):
        model = linear_model.LogisticRegression(C=strength, tol=1e-8, max_iter=5000)
        model.fit(train.astype(float), labels)
        w, b = measures.logistic_regression(*sets[:2], CLASSES, strength)
        assert np.allclose(w, model.coef_, atol=1e-3)
        # a common shift of the biases changes no probability
        assert np.allclose(b - b.mean(), model.intercept_ - model.intercept_.mean(), atol=5e-3)
        mean, std = train.astype(float).mean(0), train.astype(float).std(0, ddof=1)
        model.fit((train - mean) / std, labels)
        found = measures.linear_probe(*sets, strengths=(strength,))
        assert found['top1'] == pytest.approx(100 * model.score((val - mean) / std, val_labels))


def test_the_strength_is_chosen_without_the_validation_images(sets):
    train, labels, val, val_labels = sets
    first = measures.linear_probe(train, labels, val, val_labels)
    other = measures.linear_probe(train, labels, val.flip(1), val_labels.flip(0))
    assert first['strength'] == other['strength'] and first['held_out'] == other['held_out']
    assert set(first['held_out']) == set(measures.STRENGTHS)
    assert len(set(first['held_out'].values())) > 1
    assert first['held_out'][first['strength']] == max(first['held_out'].values())


def test_few_images_of_a_class_are_compared_with_their_mean(sets):
    train, labels, val, val_labels = sets
    found = measures.few_shot(*sets, shots=(1, 5, 30, 31))
    assert list(found['shots']) == ['1', '5', '30'], 'there are thirty of each'
    x, y = (measures.unit(t, train.mean(dim=0)).double().numpy() for t in (train, val))
    means = np.stack([x[labels.numpy() == c].mean(axis=0) for c in range(CLASSES)])
    near = ((y[:, None] - means[None]) ** 2).sum(axis=2).argmin(axis=1)
    assert found['shots']['30'] == {'top1': 100 * (near == val_labels.numpy()).mean(), 'std': 0.0}
    assert found['shots']['1']['top1'] < found['shots']['30']['top1']
    assert found['shots']['1']['std'] > 0
    assert measures.few_shot(*sets) == measures.few_shot(*sets)


def test_retrieval_against_the_formula_and_mmpretrain(sets):
    train, labels, val, val_labels = arrays(sets)
    similarity = cosines(val, train)
    precisions, hits = [], []
    for row, own in zip(similarity, val_labels, strict=True):
        right = labels[np.argsort(-row)] == own
        precisions.append(np.mean([right[: i + 1].mean() for i in np.flatnonzero(right)]))
        hits.append(right[:5].any())
    found = measures.retrieval(*sets)
    assert found['mAP'] == pytest.approx(100 * np.mean(precisions), abs=1e-3)
    assert found['recall@5'] == pytest.approx(100 * np.mean(hits), abs=1e-3)
    from mmpretrain.evaluation import RetrievalAveragePrecision, RetrievalRecall

    targets = [np.flatnonzero(labels == own) for own in val_labels]
    score = torch.from_numpy(similarity)
    indices = list(score.argsort(dim=1, descending=True))
    theirs = RetrievalAveragePrecision.calculate(indices, targets, topk=len(labels),
                                                 pred_indices=True, target_indices=True)
    assert found['mAP'] == pytest.approx(float(theirs), abs=1e-3)
    (recall,) = RetrievalRecall.calculate(indices, targets, topk=1, pred_indices=True,
                                          target_indices=True)
    assert found['recall@1'] == pytest.approx(float(recall), abs=1e-3)


def test_queries_without_an_image_of_their_class_are_counted(sets):
    train, labels, val, val_labels = sets
    kept = labels != 3
    found = measures.retrieval(train[kept], labels[kept], val, val_labels)
    assert found['left_out'] == 20
    assert found['mAP'] == measures.retrieval(
        train[kept], labels[kept], val[val_labels != 3], val_labels[val_labels != 3]
    )['mAP']


def test_every_fifth_image_of_a_class_is_held_out():
    held = measures._every_fifth(torch.tensor([0] * 10 + [1] * 3 + [2]))
    assert held.nonzero().flatten().tolist() == [4, 9, 12]


# Dense --------------------------------------------------------------------------------------------


def test_a_dense_probe_learns_what_patches_show_and_ignores_what_is_ignored():
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 3, (12, 4, 4), generator=generator)
    features = torch.nn.functional.one_hot(labels, 3).float()
    features = features + 0.1 * torch.randn(features.shape, generator=generator)
    masks = labels.repeat_interleave(8, 1).repeat_interleave(8, 2).to(torch.uint8)
    masks[:, :2] = 255
    given = features[:8], masks[:8], features[8:], masks[8:]
    found = dense_probe(*given, classes=3, epochs=60, rate=0.05, batch=4)
    assert found['mIoU'] > 60 and found['aAcc'] > 75  # bilinear logits blur the borders
    assert found == dense_probe(*given, classes=3, epochs=60, rate=0.05, batch=4)
    untrained = dense_probe(*given, classes=3, epochs=0, least=0)
    assert untrained['mIoU'] < 40


def test_few_images_are_learnt_from_too():
    """30 epochs of one batch would leave the layer as it began."""
    labels = torch.randint(0, 3, (6, 4, 4), generator=torch.Generator().manual_seed(0))
    features = torch.nn.functional.one_hot(labels, 3).float()
    given = (features.repeat(1, 1, 1, 16), labels.to(torch.uint8)) * 2
    found = dense_probe(*given, classes=3)
    assert found['mIoU'] > 95 > dense_probe(*given, classes=3, least=0)['mIoU']


def test_intersections_over_unions():
    masks = torch.tensor([[[0, 0, 1, 255]]], dtype=torch.uint8)
    counts = confusion(torch.tensor([[[0, 1, 1, 2]]]), masks, 4)
    assert counts.sum() == 3
    found = intersections(counts)
    assert found == {'mIoU': 50.0, 'mAcc': 75.0, 'aAcc': pytest.approx(66.6667)}
