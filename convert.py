"""`python convert.py`, which is `sat-convert` where the package is installed."""

from sat_jax.commands.convert import run

if __name__ == "__main__":
    run()
