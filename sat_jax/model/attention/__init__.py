"""Attention algorithms: one file per family, chosen by name, one way of handing out their maps."""
