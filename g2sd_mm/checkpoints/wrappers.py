"""What training tools put around a network, and leave in the names of its tensors."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from ..compat.safe_load import CheckpointError

#: Parts of a name that a wrapper adds wherever it wraps: torch.compile, FSDP, checkpointing.
_INSERTED = ('_orig_mod', '_fsdp_wrapped_module', '_checkpoint_wrapped_module', '_fpw_module')
#: What stands before every name of a network that another module holds: DDP, Lightning.
_AROUND = ('module.', 'model.')
_FLAT = '_flat_param'  # FSDP's, of which each process has a part


def unwrapped(state: Mapping[str, Tensor], path: str) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """A state dict under the names of the network itself, however its wrappers are nested.

    Args:
        state: tensors under the names of their file.
        path: of the file, for messages.

    Returns:
        the state dict, and the prefixes that were taken off.

    Raises:
        CheckpointError: if two names become one, or the tensors are parts of FSDP.
    """
    plain: dict[str, Tensor] = {}
    found: dict[str, None] = {}
    for name, tensor in state.items():
        parts = name.split('.')
        if parts[-1].startswith(_FLAT):
            raise CheckpointError(
                f'{path} holds the flat parts of FSDP ({name}): save a full state dict '
                '(torch.distributed.checkpoint.state_dict with full_state_dict=True)'
            )
        short = '.'.join(part for part in parts if part not in _INSERTED)
        found |= dict.fromkeys(f'{part}.' for part in parts if part in _INSERTED)
        if short in plain:
            raise CheckpointError(
                f'{path}: without {", ".join(found)} two tensors are called {short}; save one of '
                'the two networks'
            )
        plain[short] = tensor
    while prefix := next((p for p in _AROUND if _shared(plain, p)), None):
        plain = {name[len(prefix) :]: tensor for name, tensor in plain.items()}
        found[prefix] = None
    return plain, tuple(found)


def shared_prefix(state: Mapping[str, Tensor]) -> str:
    """The first part that all names share, with its dot; empty if they share none."""
    first = next(iter(state), '').partition('.')[0] + '.'
    return first if _shared(state, first) else ''


def _shared(state: Mapping[str, Tensor], prefix: str) -> bool:
    return bool(state) and all(
        name.startswith(prefix) and len(name) > len(prefix) for name in state
    )
