"""Names and shapes of a detectron2 ViTDet Mask R-CNN with 80 classes."""

from __future__ import annotations

Shape = tuple[int, ...]


def detectron2_names(dim: int, heads: int, depth: int = 12) -> dict[str, Shape]:
    """All entries of the published state dict: 245 at depth 12."""
    names: dict[str, Shape] = {'backbone.net.pos_embed': (1, 197, dim)}

    def layer(name: str, *weight: int, bias: int | None = None) -> None:
        names[f'{name}.weight'] = weight
        if bias is not None:
            names[f'{name}.bias'] = (bias,)

    def norm(name: str, channels: int) -> None:
        layer(name, channels, bias=channels)

    layer('backbone.net.patch_embed.proj', dim, 3, 16, 16, bias=dim)
    for i in range(depth):
        block, side = f'backbone.net.blocks.{i}', 64 if i % 3 == 2 else 14
        norm(f'{block}.norm1', dim)
        norm(f'{block}.norm2', dim)
        layer(f'{block}.attn.qkv', 3 * dim, dim, bias=3 * dim)
        layer(f'{block}.attn.proj', dim, dim, bias=dim)
        layer(f'{block}.mlp.fc1', 4 * dim, dim, bias=4 * dim)
        layer(f'{block}.mlp.fc2', dim, 4 * dim, bias=dim)
        for axis in 'hw':
            names[f'{block}.attn.rel_pos_{axis}'] = (2 * side - 1, dim // heads)

    def level(name: str, first: int, channels: int) -> None:
        layer(f'backbone.{name}.{first}', 256, channels, 1, 1)
        norm(f'backbone.{name}.{first}.norm', 256)
        layer(f'backbone.{name}.{first + 1}', 256, 256, 3, 3)
        norm(f'backbone.{name}.{first + 1}.norm', 256)

    layer('backbone.simfp_2.0', dim, dim // 2, 2, 2, bias=dim // 2)
    norm('backbone.simfp_2.1', dim // 2)
    layer('backbone.simfp_2.3', dim // 2, dim // 4, 2, 2, bias=dim // 4)
    level('simfp_2', 4, dim // 4)
    layer('backbone.simfp_3.0', dim, dim // 2, 2, 2, bias=dim // 2)
    level('simfp_3', 1, dim // 2)
    level('simfp_4', 0, dim)
    level('simfp_5', 1, dim)

    rpn = 'proposal_generator.rpn_head'
    for i in range(2):
        layer(f'{rpn}.conv.conv{i}', 256, 256, 3, 3, bias=256)
    layer(f'{rpn}.objectness_logits', 3, 256, 1, 1, bias=3)
    layer(f'{rpn}.anchor_deltas', 12, 256, 1, 1, bias=12)
    for i in range(1, 5):
        for conv in (f'roi_heads.box_head.conv{i}', f'roi_heads.mask_head.mask_fcn{i}'):
            layer(conv, 256, 256, 3, 3)
            norm(f'{conv}.norm', 256)
    layer('roi_heads.box_head.fc1', 1024, 12544, bias=1024)
    layer('roi_heads.box_predictor.cls_score', 81, 1024, bias=81)
    layer('roi_heads.box_predictor.bbox_pred', 320, 1024, bias=320)
    layer('roi_heads.mask_head.deconv', 256, 256, 2, 2, bias=256)
    layer('roi_heads.mask_head.predictor', 80, 256, 1, 1, bias=80)
    return names
