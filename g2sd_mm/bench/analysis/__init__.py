"""What a student has in common with its teacher, and how both bear what they were not trained on.

One file an analysis: pure functions of tensors, and one function that asks networks and gives
plain values. Nothing here draws or writes files.
"""
