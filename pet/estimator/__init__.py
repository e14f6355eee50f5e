"""`PetClassifier`: a run as a scikit-learn estimator."""
