"""`python analyze.py`, which is `sat-analyze` where the package is installed."""

from sat_jax.commands.analyze import run

if __name__ == "__main__":
    run()
