"""What a training is written to besides its run folder: TensorBoard's logs, MLflow, Comet, Weights & Biases.

One interface (`tracker.Tracker`) and one file for each. A tracker is told what is known when it is known, and nothing
that it does changes the training: TensorBoard's logs are files that this process writes, each client library of others
runs in a process of its own. What fails is one warning, and the training goes on without it. Nothing here is sent
anywhere unless the user's own settings of a client say so.
"""
