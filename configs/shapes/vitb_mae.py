# MAE pre-training of the demo's teacher.
_base_ = ['../_base_/shapes_pretrain_recipe.py', '../_base_/shapes_pretrain_data.py']

model = dict(type='MAEPretraining', arch='demo-teacher', decoder='dec64d2b', img_size=56)
