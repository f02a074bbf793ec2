"""The search for settings: ranges of them, and a study whose trials are trainings. Optuna is loaded here alone."""
