"""Vision encoders of other methods and libraries: what they are, by names and shapes alone."""

from .encoders import VisionEncoder, plain_encoder, vision_encoder
from .unsuitable import unsuitable

__all__ = ['VisionEncoder', 'plain_encoder', 'unsuitable', 'vision_encoder']
