# For GPU users: docker build -t g2sd_mm . && docker run --gpus all --shm-size 8g -it \
#     -v /path/to/data:/g2sd_mm/data -v $PWD/work_dirs:/g2sd_mm/work_dirs g2sd_mm
#
# Not tried: this file has not been built, and nothing of the project has been run in it.
# PyTorch and CUDA come with the base image and are kept as they are; nothing is compiled.
FROM pytorch/pytorch:2.6.0-cuda12.4-cudnn9-runtime

WORKDIR /g2sd_mm
COPY . .
# OpenCV comes last, as in the Makefile: dependencies bring its build with windows.
RUN python -m pip install --no-cache-dir -e '.[dev]' \
    && python -m pip install --no-cache-dir --force-reinstall --no-deps \
        opencv-python-headless==4.12.0.88

CMD ["bash"]
