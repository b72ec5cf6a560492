"""`python export.py`, which is `sat-export` where the package is installed."""

from sat_jax.commands.export import run

if __name__ == "__main__":
    run()
