"""`python attention.py`, which is `sat-attention` where the package is installed."""

from sat_jax.commands.attention import run

if __name__ == "__main__":
    run()
