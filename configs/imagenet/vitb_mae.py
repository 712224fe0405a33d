# MAE pre-training of the teacher, decoder included (its full checkpoint is stage 1's teacher).
_base_ = ['../_base_/pretrain_recipe.py', '../_base_/imagenet_pretrain_data.py']

model = dict(type='MAEPretraining', arch='base', decoder='dec512d8b')
