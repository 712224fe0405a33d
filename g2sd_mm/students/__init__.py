"""Trained students in other people's code: load, predict, hand to timm."""

from .load import load_student
from .student import Student
from .timm_model import as_timm

__all__ = ['Student', 'as_timm', 'load_student']
