"""Where members are trained and scored: this process, worker processes, a Ray cluster, or several GPUs."""
