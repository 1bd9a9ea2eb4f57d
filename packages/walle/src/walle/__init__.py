"""Experience collection: batched MuJoCo environments and parallel samplers."""
