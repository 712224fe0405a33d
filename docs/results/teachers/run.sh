#!/usr/bin/env bash
# The rows of this folder: run.sh IMAGES DINOV2_FILE SEED..., from the root of the checkout.
# IMAGES has train/<class>/ and val/<class>/. What is finished is not run again.
set -euo pipefail
images=$1 file=$2
shift 2

unlabelled=(shapes=None "train_dataloader.dataset.dataset.data_root=$images/train")
labelled=(
    "${unlabelled[@]}" "val_dataloader.dataset.data_root=$images/val"
    "test_dataloader.dataset.data_root=$images/val" num_classes=20
    train_cfg.max_epochs=15 train_cfg.val_interval=15)
stage1=("${unlabelled[@]}" train_cfg.max_epochs=10)
dinov2=(
    "${stage1[@]}" "distillation.teacher.checkpoint=$file"
    distillation.teacher.block=9 distillation.teacher.dtype=bfloat16)

for seed in "$@"; do
    runs=$PWD/work_dirs/teachers/seed$seed  # --runs would stand before a relative path
    run() { # NAME CONFIG OPTION...
        [ -e "$runs/$1/weights.pth" ] || python tools/train.py "$2" --seed "$seed" --runs "$runs" \
            --work-dir "$runs/$1" --resume --cfg-options "${@:3}"
    }
    mini=configs/mini
    run vits_scratch_cls $mini/vits_scratch_cls.py "${labelled[@]}"
    run vits_mae $mini/vits_mae.py "${stage1[@]}"
    run vits_mae_cls $mini/vits_mae_cls.py "${labelled[@]}"
    run vitb_mae $mini/vitb_mae.py "${unlabelled[@]}" train_cfg.max_epochs=20
    run g2sd_vits_generic $mini/g2sd_vits_generic.py "${stage1[@]}"
    run g2sd_vits_cls_nosd $mini/g2sd_vits_cls_nosd.py "${labelled[@]}"
    run g2sd_vits_generic_cross $mini/g2sd_vits_generic_cross.py "${stage1[@]}"
    run g2sd_vits_cls_nosd_cross $mini/g2sd_vits_cls_nosd_cross.py "${labelled[@]}"

    # four views of each image, over and over: the teacher is run for four epochs of the ten
    config=$runs/unmasked_with_answers.py
    mkdir -p "$runs"
    cat > "$config" <<CONFIG
_base_ = '$PWD/$mini/g2sd_vits_generic_dinov2_unmasked.py'
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='TeacherAnswersHook', folder='$runs/answers', limit_gb=8)]
CONFIG
    run g2sd_vits_generic_dinov2_unmasked "$config" "${dinov2[@]}" \
        train_dataloader.dataset.views=4
    run dinov2_unmasked_nosd $mini/g2sd_vits_cls_nosd.py "${labelled[@]}" \
        "model.backbone.init_cfg.checkpoint=$runs/g2sd_vits_generic_dinov2_unmasked/weights.pth"

    run g2sd_vits_generic_dinov2 $mini/g2sd_vits_generic_dinov2.py "${dinov2[@]}"
    run dinov2_nosd $mini/g2sd_vits_cls_nosd.py "${labelled[@]}" \
        "model.backbone.init_cfg.checkpoint=$runs/g2sd_vits_generic_dinov2/weights.pth"
done
