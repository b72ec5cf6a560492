"""Ablations of any model: a trie over settings and the functions it walks with."""
