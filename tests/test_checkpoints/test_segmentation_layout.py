"""Published segmentors under mmseg 1.x names."""

from __future__ import annotations

import torch

from g2sd_mm.checkpoints import Kind, identify, read_weights
from g2sd_mm.checkpoints.convert import convert_state, state_for


def published() -> dict[str, torch.Tensor]:
    """A few names of every kind that a published plain segmentor has."""
    names = (
        'backbone.cls_token', 'backbone.pos_embed', 'backbone.patch_embed.proj.weight',
        'backbone.blocks.0.gamma_1', 'backbone.blocks.0.norm1.weight',
        'backbone.blocks.0.attn.relative_position_bias_table',
        'backbone.blocks.0.attn.relative_position_index',
        'backbone.fpn1.0.weight', 'backbone.fpn1.1.running_mean', 'backbone.fpn1.3.bias',
        'backbone.fpn2.0.weight', 'decode_head.conv_seg.weight',
        'decode_head.psp_modules.0.1.bn.bias', 'auxiliary_head.convs.0.conv.weight',
    )
    return {name: torch.full((2,), float(i)) for i, name in enumerate(names)}


def converted(state: dict, tmp_path) -> dict[str, torch.Tensor]:
    torch.save({'state_dict': state, 'meta': {}}, tmp_path / 'model.pth')
    return state_for(read_weights(tmp_path / 'model.pth'))


def test_pyramid_is_renamed_and_the_index_left_out(tmp_path):
    state = published()
    own = converted(state, tmp_path)
    assert len(own) == len(state) - 1
    for old, new in (
        ('backbone.fpn1.0.weight', 'neck.upsample_4x.0.weight'),
        ('backbone.fpn1.1.running_mean', 'neck.upsample_4x.1.running_mean'),
        ('backbone.fpn1.3.bias', 'neck.upsample_4x.3.bias'),
        ('backbone.fpn2.0.weight', 'neck.upsample_2x.0.weight'),
        ('backbone.blocks.0.gamma_1', 'backbone.blocks.0.gamma_1'),
        ('decode_head.psp_modules.0.1.bn.bias', 'decode_head.psp_modules.0.1.bn.bias'),
    ):
        assert torch.equal(own[new], state[old])
    assert not any('fpn1' in name or 'relative_position_index' in name for name in own)


def test_renaming_twice_changes_nothing(tmp_path):
    once = converted(published(), tmp_path)
    assert converted(once, tmp_path).keys() == once.keys()


def test_a_pyramid_of_smaller_patches_comes_back():
    state = {  # the largest map is as fine as the patches: nothing enlarges it
        name: tensor for name, tensor in published().items()
        if 'fpn1' not in name and 'index' not in name
    }  # fmt: skip
    own = convert_state(state, 'ours').state
    assert torch.equal(own['neck.upsample_2x.0.weight'], state['backbone.fpn2.0.weight'])
    back = convert_state(own, 'g2sd').state
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], state[name]) for name in state)


def test_of_a_distiller_only_the_student_is_left(tmp_path):
    student, teacher = published(), {k: v + 100 for k, v in published().items()}
    state = {f'student.{k}': v for k, v in student.items()}
    state |= {f'teacher.{k}': v for k, v in teacher.items()}
    state |= {f'{side}_decode_head_conv_seg': torch.zeros(2, 3) for side in ('student', 'teacher')}
    assert identify(state) is Kind.SEG_DISTILLER
    own = converted(state, tmp_path)
    assert own.keys() == converted(student, tmp_path).keys()
    assert max(tensor.max().item() for tensor in own.values()) < 100
