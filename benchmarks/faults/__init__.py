"""Runs that are killed, starved and interrupted on purpose, to see what is left of them."""
