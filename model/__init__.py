"""Networks: training, evaluation, labels, exports; TensorFlow, no Beam. The four commands lie beside the folders."""
