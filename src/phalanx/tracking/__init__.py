"""Trackers: sinks that hand a run's events to TensorBoard, MLflow or Weights & Biases. None is imported unless asked for."""
