"""Vision encoders of other methods and libraries: what they are, by names and shapes alone."""

from .encoders import VisionEncoder, plain_encoder, unsuitable, vision_encoder
from .names import is_sin_cos

__all__ = ['VisionEncoder', 'is_sin_cos', 'plain_encoder', 'unsuitable', 'vision_encoder']
