# The plain student of a distilled ViT-Ti classifier.
_base_ = './vits_deploy.py'

model = dict(backbone=dict(arch='tiny'), head=dict(in_channels=192))
