"""Executors: train and score members in this process, in worker processes, on a Ray cluster, or on several GPUs."""
