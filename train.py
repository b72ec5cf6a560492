"""`python train.py`, which is `sat-train` where the package is installed."""

from sat_jax.commands.train import run

if __name__ == "__main__":
    run()
