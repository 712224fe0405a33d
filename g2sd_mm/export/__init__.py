"""Students as files that run without this project: ONNX, TorchScript, torch.export."""

from .student import Exported, export_student

__all__ = ['Exported', 'export_student']
