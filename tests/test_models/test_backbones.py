"""``G2SDViT``: what it gives a head, and where it takes its weights from."""

from __future__ import annotations

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import MODELS
from torch.utils._python_dispatch import TorchDispatchMode

from g2sd_mm.checkpoints import CheckpointError
from g2sd_mm.models import G2SDViT
from g2sd_mm.models.mae import MAEPretraining
from g2sd_mm.models.positions import resize_positions

from ..helpers.toys import (
    IMAGE,
    STUDENT,
    arch,
    autoencoder,
    classifier,
    distiller,
    images,
    save,
    words,
)

OUT_TYPES = ('cls_token', 'avg_featmap', 'dist_token')


def backbone(out_type: str, seed: int = 0, **changes) -> G2SDViT:
    torch.manual_seed(seed)
    arguments = dict(arch=arch(), img_size=IMAGE, out_type=out_type)
    model = G2SDViT(**{**arguments, **changes})
    model.init_weights()
    return model


def blocks(model: G2SDViT, tokens: torch.Tensor) -> torch.Tensor:
    for block in model.blocks:
        tokens = block(tokens)
    return tokens


def test_class_token_comes_out_normalised():
    model, pixels = backbone('cls_token'), images()
    (feature,) = model(pixels)
    assert torch.equal(feature, model.norm(blocks(model, model.embed(pixels)[0]))[:, 0])


def test_patches_are_averaged_without_the_class_token_and_then_normalised():
    model, pixels = backbone('avg_featmap'), images()
    torch.nn.init.normal_(model.fc_norm.weight)
    (feature,) = model(pixels)
    tokens = blocks(model, model.embed(pixels)[0])
    assert torch.equal(feature, model.fc_norm(tokens[:, 1:].mean(1)))
    assert not hasattr(model, 'norm')


def test_dist_token_stands_last_and_has_no_position():
    model, pixels = backbone('dist_token'), images()
    torch.nn.init.normal_(model.pos_embed)
    tokens, _ = model.embed(pixels)
    tokens = torch.cat([tokens, model.dist_token.expand(2, -1, -1)], dim=1)
    assert tokens.shape[1] == 1 + 16 + 1
    tokens = model.norm(blocks(model, tokens))
    ((cls, dist),) = model(pixels)
    assert torch.equal(cls, tokens[:, 0])
    assert torch.equal(dist, tokens[:, -1])


def test_features_are_means_over_positions_when_patches_do_not_know_theirs():
    """Without position embeddings, shuffling the patches changes nothing."""
    model = backbone('dist_token')
    model.pos_embed.data.zero_()
    pixels = images()
    ((cls, dist),) = model(pixels)
    ((cls_, dist_),) = model(pixels.roll(8, dims=-1))
    assert torch.allclose(cls, cls_, atol=1e-6)
    assert torch.allclose(dist, dist_, atol=1e-6)


def features(model: G2SDViT, pixels: torch.Tensor) -> torch.Tensor:
    (found,) = model(pixels)
    return torch.cat(found) if isinstance(found, tuple) else found


@pytest.fixture
def rows(monkeypatch):
    """Tokens that the MLP of the last block was given in each pass."""
    seen = []

    def watch(model: G2SDViT) -> list[int]:
        mlp = model.blocks[-1].mlp
        plain = type(mlp).forward

        def forward(self: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
            if self is mlp:
                seen.append(x.shape[1])
            return plain(self, x)

        # of the class: a module whose own pass is replaced would be given all tokens
        monkeypatch.setattr(type(mlp), 'forward', forward)
        return seen

    return watch


@pytest.mark.parametrize(('out_type', 'read'), [('cls_token', 1), ('dist_token', 2)])
def test_tokens_that_no_head_reads_are_left_out_of_the_last_block(out_type, read, rows):
    model, pixels = backbone(out_type, layer_scale=0.7).eval(), images()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    seen, whole = rows(model), features(model, pixels)
    model.skips_unread = True
    alone = features(model, pixels)
    assert seen == [17 + read - 1, read]
    assert torch.allclose(alone, whole, rtol=1e-5, atol=1e-5)
    # whoever trains it, or hears the block, a part of it or the norm, is given all
    places = (model.blocks[-1], model.blocks[-1].attn.qkv, model.norm)
    for place in places:
        handle = place.register_forward_hook(lambda *_: None)
        assert torch.equal(features(model, pixels), whole)
        handle.remove()
    model.train()
    assert torch.equal(features(model, pixels), whole)
    assert seen[2:] == 4 * [17 + read - 1]


@pytest.mark.parametrize('place', ['', 'attn', 'attn.qkv', 'mlp'])
def test_a_replaced_pass_and_a_hook_on_gradients_are_given_all_tokens(place):
    model, pixels = backbone('dist_token').eval(), images()
    model.skips_unread = True
    module, seen = model.blocks[-1].get_submodule(place), []
    plain = module.forward
    module.forward = lambda x, *rest: (seen.append(x.shape[1]), plain(x, *rest))[1]
    features(model, pixels)
    del module.forward
    handle = module.register_full_backward_hook(lambda _, given, got: seen.append(got[0].shape[1]))
    features(model, pixels).sum().backward()
    handle.remove()
    assert seen == [18, 18]


def test_a_hook_on_all_modules_hears_all_of_the_last_block():
    model, pixels, seen = backbone('dist_token').eval(), images(), []
    model.skips_unread = True
    handle = torch.nn.modules.module.register_module_forward_hook(lambda m, *_: seen.append(m))
    try:
        model(pixels)
    finally:
        handle.remove()
    assert any(module is model.blocks[-1].attn.qkv for module in seen)


def test_tokens_are_picked_without_indices_that_a_gpu_would_wait_for():
    model, pixels, called = backbone('dist_token').eval(), images(), []
    model.skips_unread = True

    class Ops(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            called.append(func.name())
            return func(*args, **(kwargs or {}))

    with torch.no_grad(), Ops():
        model(pixels)
    assert 'aten::select.int' in called and 'aten::index.Tensor' not in called


def test_an_average_reads_all_tokens(rows):
    model = backbone('avg_featmap').eval()
    model.skips_unread, seen = True, rows(model)
    model(images())
    assert seen == [17]


def test_an_unknown_out_type_is_refused():
    with pytest.raises(ValueError, match=words("'pool'", 'cls_token, avg_featmap, dist_token')):
        G2SDViT(arch(), out_type='pool')


@pytest.mark.parametrize('out_type', OUT_TYPES)
def test_every_parameter_gets_a_gradient(out_type):
    model = backbone(out_type)
    (features,) = model(images())
    features = features if isinstance(features, tuple) else (features,)
    sum(feature.square().sum() for feature in features).backward()
    assert [n for n, p in model.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize('out_type', OUT_TYPES)
def test_another_input_size_is_taken(out_type):
    model = backbone(out_type)
    outputs = model(torch.randn(2, 3, 48, 40))[0]
    assert all(x.shape == (2, 16) for x in (outputs if out_type == 'dist_token' else (outputs,)))


# Initialisation -----------------------------------------------------------------------------------


def files(folder) -> dict[str, tuple[str, dict]]:
    """Files with one and the same encoder, and its tensors."""
    student = autoencoder(STUDENT, seed=5)
    encoder = {
        name: tensor
        for name, tensor in student.state_dict().items()
        if not name.startswith(('decoder_', 'mask_token'))
    }
    run = distiller()
    run.student.load_state_dict(student.state_dict(), strict=False)
    mae = MAEPretraining(**STUDENT)
    mae.autoencoder.load_state_dict(student.state_dict())
    states = {
        'full autoencoder': student.state_dict(),
        'encoder only': encoder,
        'stage-1 run': run.state_dict(),
        'stage-1 weights': run.deployable_state(),
        'MAE run': mae.state_dict(),
    }
    return {
        name: (save(folder / f'{i}.pth', state), encoder)
        for i, (name, state) in enumerate(states.items())
    }


@pytest.mark.parametrize('out_type', OUT_TYPES)
def test_the_encoder_is_taken_from_any_file_that_has_one(tmp_path, out_type):
    for name, (path, encoder) in files(tmp_path).items():
        model = backbone(out_type, init_cfg=dict(type='Pretrained', checkpoint=path))
        for key, own in model.state_dict().items():
            if key in encoder:
                assert torch.equal(own, encoder[key]), f'{key} from {name}'
            else:
                assert key in ('fc_norm.weight', 'fc_norm.bias', 'dist_token'), name


def test_what_pre_training_lacks_starts_as_without_it(tmp_path):
    path, _ = files(tmp_path)['encoder only']
    loaded = backbone('dist_token', init_cfg=dict(type='Pretrained', checkpoint=path))
    assert 0.01 < loaded.dist_token.std() < 0.03


def test_positions_train_after_frozen_pre_training(tmp_path):
    path, _ = files(tmp_path)['full autoencoder']
    model = backbone('dist_token', init_cfg=dict(type='Pretrained', checkpoint=path))
    assert model.pos_embed.requires_grad


def test_a_classifier_initialises_its_backbone(tmp_path):
    path, encoder = files(tmp_path)['stage-1 weights']
    model = classifier('dist_token', init_cfg=dict(type='Pretrained', checkpoint=path))
    assert torch.equal(model.backbone.blocks[1].mlp.fc2.weight, encoder['blocks.1.mlp.fc2.weight'])


def test_a_file_of_another_size_is_refused(tmp_path):
    path, _ = files(tmp_path)['stage-1 run']
    pretrained = dict(type='Pretrained', checkpoint=path)
    wide = words('2.pth cannot serve as initialisation of G2SDViT', 'stage-1 training checkpoint',
                 'width 16 and depth 2', 'of another size', 'is 1x1x16, expected 1x1x24', 'arch')
    with pytest.raises(CheckpointError, match=wide):
        backbone('cls_token', arch=arch(24), init_cfg=pretrained)
    with pytest.raises(CheckpointError, match=words('12 missing (blocks.2.norm1.weight')):
        backbone('cls_token', arch=arch(depth=3), init_cfg=pretrained)
    with pytest.raises(CheckpointError, match=words('12 unknown (blocks.1.norm1.weight')):
        backbone('cls_token', arch=arch(depth=1), init_cfg=pretrained)
    with pytest.raises(CheckpointError, match=words('patch_embed.proj.weight is 16x3x8x8')):
        backbone('cls_token', patch_size=16, img_size=64, init_cfg=pretrained)


def test_a_file_without_an_encoder_is_refused(tmp_path):
    path = save(tmp_path / 'resnet.pth', {'conv1.weight': torch.zeros(2, 3, 1, 1)})
    message = words('resnet.pth has no ViT encoder', 'it is a file of another model')
    with pytest.raises(CheckpointError, match=message):
        backbone('cls_token', init_cfg=dict(type='Pretrained', checkpoint=path))


def test_positions_are_resized_to_another_grid(tmp_path):
    path, encoder = files(tmp_path)['encoder only']
    init = dict(type='Pretrained', checkpoint=path)
    model = backbone('cls_token', img_size=48, init_cfg=init)
    assert torch.equal(model.pos_embed, resize_positions(encoder['pos_embed'], (4, 4), (6, 6)))


def test_a_fine_tuned_classifiers_encoder_is_taken(tmp_path):
    """The other pooling's norm is left out knowingly, nothing else is."""
    tuned = classifier('avg_featmap', seed=3)
    path = save(tmp_path / 'tuned.pth', tuned)
    model = backbone('avg_featmap', init_cfg=ConfigDict(type='Pretrained', checkpoint=path))
    assert torch.equal(model.fc_norm.weight, tuned.backbone.fc_norm.weight)
    assert torch.equal(model.blocks[0].attn.qkv.weight, tuned.backbone.blocks[0].attn.qkv.weight)


@pytest.mark.parametrize('scope', ['mmpretrain', 'mmengine'])
def test_it_is_found_from_every_scope(scope):
    assert isinstance(
        MODELS.build(dict(_scope_=scope, type='G2SDViT', arch=arch(), img_size=IMAGE)), G2SDViT
    )


# A share of the patches ---------------------------------------------------------------------------


@pytest.mark.parametrize('out_type', OUT_TYPES)
def test_a_share_of_the_patches_is_looked_at(out_type, monkeypatch):
    model, seen = backbone(out_type, visible_share=0.5).eval(), []
    model.blocks[0].register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    first, again = model(images()), model(images())
    assert seen[0].shape[1] == 1 + 8 + (out_type == 'dist_token')
    assert not torch.equal(seen[0], seen[1])  # others each time
    assert len(first) == len(again) == 1


def test_patches_that_are_looked_at_are_the_images_own_with_their_positions():
    model, pixels = backbone('avg_featmap', visible_share=0.25), images()
    torch.nn.init.normal_(model.pos_embed)
    (tokens, _), (whole, _) = model.embed(pixels, model._some(pixels)), model.embed(pixels)
    assert torch.allclose(tokens[:, 0], whole[:, 0])
    distance = torch.cdist(tokens[:, 1:], whole[:, 1:])
    assert tokens.shape[1] == 1 + 4
    assert (distance.min(dim=2).values < 1e-3).all()
    nearest = distance.argmin(dim=2)
    assert all(len(set(row.tolist())) == 4 for row in nearest)


@pytest.mark.parametrize('share', [0.0, 1.1])
def test_a_share_of_the_patches_that_is_none_is_refused(share):
    with pytest.raises(ValueError, match=words(f'visible_share={share}', 'at most 1')):
        backbone('cls_token', visible_share=share)
