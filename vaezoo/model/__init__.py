"""The generative model: its parts, the passes through it, what users do with it, and the task that is trained."""
