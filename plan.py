"""`python plan.py`, which is `sat-plan` where the package is installed."""

from sat_jax.commands.plan import run

if __name__ == "__main__":
    run()
