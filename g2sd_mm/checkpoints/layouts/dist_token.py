"""The dist token: last and without a position as published for G2SD, second with one in DeiT.

Attention does not know the order of its tokens, and norms and heads look at one token at a time:
moving the token changes nothing but its number. Its position becomes a row of zeros.
"""

from __future__ import annotations

import torch

from ..identify import has_dist_position
from .rules import State


def dist_second(state: State) -> State:
    """Published names, ``pos_embed`` [1, 1 + N, D] -> [1, 2 + N, D] with a row of zeros second."""
    if 'dist_token' not in state:
        return state
    positions = state['pos_embed']
    row = torch.zeros_like(positions[:, :1])
    return {**state, 'pos_embed': torch.cat([positions[:, :1], row, positions[:, 1:]], dim=1)}


def dist_last(state: State) -> State:
    """Undoes :func:`dist_second`; a position that DeiT learnt is added to the token itself."""
    if 'dist_token' not in state or not has_dist_position(state):
        return state
    positions = state['pos_embed']
    row, token = positions[:, 1:2], state['dist_token']
    if not row.is_meta and row.any():  # adding zeros could still turn -0.0 into 0.0
        token = token + row
    rest = torch.cat([positions[:, :1], positions[:, 2:]], dim=1)
    return {**state, 'dist_token': token, 'pos_embed': rest}
