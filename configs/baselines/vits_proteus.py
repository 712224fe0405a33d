# Row "proteus", pre-training, DINOv2 ViT-B/14 -> ViT-S/16: class token, all tokens, and patches
# that a second pass hides. Weights of the teacher: distillation.teacher.checkpoint=FILE, or
# distillation.teacher.pretrained=True, which fetches them.
_base_ = ['../_base_/pretrain_recipe.py', '../_base_/imagenet_pretrain_data.py']

model = dict(type='TwiceSeeingStudent', arch='small', images=0.5, patches=0.5)
_head = dict(type='NormLinearAdapter', in_channels=384, out_channels=768)
_loss = dict(type='MSEFeatureLoss')
distillation = dict(
    teacher=dict(type='TimmTeacher', model='vit_base_patch14_dinov2.lvd142m'),
    taps=dict(
        cls=dict(student='whole'), all=dict(student='whole'), hidden=dict(student='again')),
    adapters=dict(cls=_head, all=_head, hidden=_head),
    # the mean over class token and 196 patches has the class token of its own head
    losses=dict(
        loss_cls=dict(
            _loss,
            tokens='cls',
            loss_weight=1 + 1 / 197,
            inputs=dict(student='student.cls', teacher='teacher.tokens')),
        loss_patches=dict(
            _loss,
            tokens='patches',
            loss_weight=196 / 197,
            inputs=dict(student='student.all', teacher='teacher.tokens')),
        loss_hidden=dict(
            _loss,
            tokens='masked',
            inputs=dict(student='student.hidden', teacher='teacher.tokens'))))
