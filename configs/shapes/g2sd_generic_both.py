# Stage 1 of two students at demo size beside one teacher: its answer is computed once, and each
# student gets the weights of its own run. They are in NAME/weights.pth of the work dir.
_base_ = './g2sd_vits_generic.py'

students = dict(
    small=dict(),
    tiny=dict(
        model=dict(
            arch=dict(_delete_=True, embed_dim=32, depth=4, num_heads=2, patch_size=8))))
