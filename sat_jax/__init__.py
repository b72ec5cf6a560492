"""sat_jax: pretrain a self-supervised audio transformer, then see and measure its heads."""
