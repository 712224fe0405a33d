"""The two-token head."""

from __future__ import annotations

import pytest
import torch
from mmpretrain.models.heads import DeiTClsHead

from g2sd_mm.models.heads import TwoTokenClsHead

from ..helpers.toys import CLASSES, images, labelled


def head(**options) -> TwoTokenClsHead:
    model = TwoTokenClsHead(CLASSES, 16, **options)
    model.init_weights()
    return model


def features() -> tuple:
    return ((torch.randn(4, 16), torch.randn(4, 16)),)


def test_evaluation_averages_both_heads():
    model, feats = head(class_std=1.0).eval(), features()
    logits = [model.layers.head(feats[0][0]), model.layers.head_dist(feats[0][1])]
    assert torch.allclose(model(feats), torch.stack(logits).mean(0))


def test_training_gives_the_class_logits_and_computes_the_others():
    model, feats = head(class_std=1.0).train(), features()
    heard = []
    model.layers.head_dist.register_forward_hook(lambda *args: heard.append(args[-1]))
    assert torch.equal(model(feats), model.layers.head(feats[0][0]))
    assert torch.equal(heard[0], model.layers.head_dist(feats[0][1]))


@pytest.mark.parametrize('average', [True, False])
def test_without_a_tap_the_other_head_has_gradients_of_zero(average):
    """Not none: DDP waits for them."""
    model = head(class_std=1.0, average=average).train()
    model.loss(features(), labelled([0, 1, 2, 0]))['loss'].backward()
    assert model.layers.head.weight.grad.any()
    for parameter in model.layers.head_dist.parameters():
        assert parameter.grad is not None and not parameter.grad.any()


def test_averaging_can_be_switched_off():
    model, feats = head(class_std=1.0, average=False).eval(), features()
    assert torch.equal(model(feats), model.layers.head(feats[0][0]))


def test_the_task_loss_is_of_the_class_logits():
    model, feats = head(class_std=1.0), features()
    losses = model.loss(feats, labelled([0, 1, 2, 0]))
    expected = torch.nn.functional.cross_entropy(
        model.layers.head(feats[0][0]), torch.tensor([0, 1, 2, 0])
    )
    assert losses['loss'].item() == pytest.approx(expected.item())


def test_weights_start_as_published():
    model = TwoTokenClsHead(100, 64)
    torch.nn.init.ones_(model.layers.head.bias)
    model.init_weights()
    assert model.layers.head.weight.std().item() == pytest.approx(2e-5, rel=0.05)
    assert model.layers.head_dist.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert not model.layers.head.bias.any()
    assert not model.layers.head_dist.bias.any()
    model = TwoTokenClsHead(100, 64, class_std=0.02)
    model.init_weights()
    assert model.layers.head.weight.std().item() == pytest.approx(0.02, rel=0.05)


def test_it_loads_into_mmpretrains_own_head_and_predicts_the_same():
    model, feats = head(class_std=1.0).eval(), features()
    stock = DeiTClsHead(CLASSES, 16, init_cfg=None).eval()
    stock.load_state_dict(model.state_dict())
    assert torch.equal(stock(feats), model(feats))


def test_a_classifier_predicts_through_it():
    from ..helpers.toys import classifier

    model = classifier('dist_token').eval()
    with torch.no_grad():
        predictions = model(images(4), labelled([0, 1, 2, 0]), mode='predict')
        logits = model(images(4))
    assert [int(p.pred_label) for p in predictions] == logits.argmax(1).tolist()
