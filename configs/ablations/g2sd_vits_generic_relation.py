# Stage 1 with a second loss on the relations of q, k and v in every layer. The release defines it
# and never calls it.
_base_ = '../imagenet/g2sd_vits_generic.py'

model = dict(relation_weight=1.0)
